// Package lab runs real clusters: mariadbd, agents, monitor and clients in network namespaces on this machine, with
// faults. The demo, the end-to-end tests and the benchmarks use it.
//
// All of a lab lives in process, mount and network namespaces of its own. When its first process ends, however it
// ends, the kernel kills and takes away the rest: nothing is left behind.
package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
)

// innerVariable is in the environment of the processes inside of the namespaces.
const innerVariable = "MMM_LAB_INNER"

// root is where a lab keeps its files: on a tmpfs that only its processes see.
const root = "/run/lab"

// Inside says whether a lab has started this process from the same program. Such a process has to call Main, whatever
// its arguments are.
func Inside() bool { return os.Getenv(innerVariable) != "" || os.Getenv(clockVariable) != "" }

// Main runs f inside of new namespaces and returns f's exit status. It starts the same program again to get there, so
// it must be the first thing that a program does. Without root it needs unprivileged user namespaces.
func Main(f func(ctx context.Context) int) int {
	if os.Getenv(clockVariable) != "" {
		return underClock()
	}
	if os.Getenv(innerVariable) == "" {
		return outer()
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return f(ctx)
}

// outer starts the program again in new namespaces, waits for its end and returns its exit status. It keeps its thread
// until then: the kernel sends Pdeathsig when the thread ends that has started the process.
func outer() int {
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), innerVariable+"="+strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "lab: start in new namespaces (this needs root or unprivileged user namespaces): %v\n",
			err)
		return 1
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	if status := cmd.ProcessState.ExitCode(); status >= 0 {
		return status
	}
	return 1
}

// furnish gives the namespaces their own /proc and an empty /run.
func furnish() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return os.MkdirAll(root, 0o755)
}
