package e2e

import "syscall"

const (
	stop = syscall.SIGSTOP
	cont = syscall.SIGCONT
)
