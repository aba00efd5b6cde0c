// Package original is a double of the daemons of MySQL MMM 2.2, which are written in Perl and can't be shipped. The
// double does what they were seen to do on the wire, to addresses and to servers, with their mistakes: an agent takes
// one connection at a time and answers when the order is done; blocking_type soft waits for every client; addresses
// have no lifetime; a slave reads the position of its new master late; the monitor sends orders every three seconds,
// may tell the new host of a reader address before the old one, and does not look for transactions that only a former
// writer has. The double is for tests of clusters in which both kinds of daemons are at work (docs/migration.md).
package original
