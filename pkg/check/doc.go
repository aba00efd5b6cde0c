// Package check finds out how the hosts are: it pings them, asks their database servers, and holds each failure back
// until it has lasted for the trap period (docs/replication.md, "What the checks say").
//
// It judges single checks and the monitor's own network. What a verdict means for a host and its roles, and what is
// logged, is decided in other packages.
package check
