// Package agent makes this host look like its last order: the right virtual addresses on its interface, its server
// open for writes only while it holds the active master role, its replication pointed at the writer.
//
// What to do is decided by Plan, a pure function of the order and of what the host is; apply carries it out; the
// answer to the monitor is observed afterwards and says what is. Nothing is remembered as done: each round plans
// anew from what is found, so no step can be skipped and none is assumed.
package agent
