// Package original is a double of the daemons of MySQL MMM 2.2, which are Perl and can't be shipped. It does what they
// were seen to do on the wire, to addresses and to servers, their mistakes included: an agent takes one connection at a
// time and answers when it is done; blocking_type soft waits for every client; addresses are there for good; a slave
// reads the position of its new master late; the monitor speaks every three seconds, tells a reader's new host first,
// and has nobody's log looked at. What it is for is docs/migration.md: clusters in which both kinds are at work.
package original
