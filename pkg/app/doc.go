// Package app builds a running program from a configuration: Cluster is the monitor of one cluster, Agent the agent of
// one host, each with all that it needs (sockets, checks, connections to servers, metrics, notifications).
//
// A process can hold many of them: nothing here belongs to the process. What does (arguments, log, pid file, signals,
// the service manager) is package daemon's.
package app
