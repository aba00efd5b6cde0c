// Package daemon is what a monitor and an agent have in common as processes: arguments, log file, pid file, going to
// the background, signals, the service manager, and the group of tasks that is the program (mmm_mond(8),
// mmm_agentd(8)).
//
// The package knows nothing of MMM: what the tasks do, and where the configuration comes from, is the business of the
// commands.
package daemon
