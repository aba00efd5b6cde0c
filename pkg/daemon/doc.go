// Package daemon is what a Unix daemon needs besides its work: arguments, the classic log, a pid file, going into the
// background, being watched there, signals, and telling systemd. It knows nothing of MMM.
package daemon
