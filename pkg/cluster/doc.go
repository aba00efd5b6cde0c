// Package cluster is the brain of MMM: which state each host is in, who holds which role, what each host must be told.
//
// It is pure. It does no I/O, reads no clock and starts nothing; time, check verdicts, agents' answers and operators'
// commands come in as values, and the next state and the events that explain it go out. pure_test.go enforces that.
package cluster
