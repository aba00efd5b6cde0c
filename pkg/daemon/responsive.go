package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	niceness = -10  // goes before every process that was not given a priority
	oomScore = -900 // the OOM killer takes nearly every other process first; -1000 would be never
)

// KeepResponsive makes this process run also on a machine that is short of memory or processor time: its memory is not
// swapped out, it goes before other processes, and the OOM killer takes others first. This is for the agent: an agent
// that hangs can't take its addresses away. What the system refuses is logged as a warning. Programs started afterwards
// inherit the priority and the OOM score, not the locked memory.
func KeepResponsive(log *slog.Logger) {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"Can't keep the memory from being swapped out", lockMemory},
		{"Can't raise the priority", raisePriority},
		{"Can't lower the OOM score", func() error { return setOOMScore(oomScore) }},
	} {
		if err := step.do(); err != nil {
			log.Warn(step.what, "cause", err)
		}
	}
}

// lockMemory locks the memory that the process uses now and will use.
func lockMemory() error {
	limit, effective, err := lockLimits()
	if err != nil {
		return err
	}
	if err := mayLock(limit, effective); err != nil {
		return err
	}
	// The Go runtime maps much more than it uses; ONFAULT (Linux 4.4) locks a page once it is used. Without it the
	// kernel would fill all future mappings, so on older kernels only what is mapped now is locked.
	err = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mlockall(unix.MCL_CURRENT)
	}
	if err != nil {
		return fmt.Errorf("mlockall: %w", err)
	}
	return lockProgram()
}

// lockProgram reads in and locks the whole program file. Otherwise code that has not run yet would be read from the
// disk when it is needed, and the disk may hang just then.
func lockProgram() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("find the program in memory: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		// START-END and four more fields before the file's name (proc_pid_maps(5)).
		var start, end uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &start, &end); n != 2 || !strings.HasSuffix(line, " "+self+"\n") {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MLOCK, start, end-start, 0); errno != 0 {
			return fmt.Errorf("mlock of the program: %w", errno)
		}
	}
	return nil
}

// lockLimits gives the limit of locked memory in bytes (RLIMIT_MEMLOCK) and the first 32 capabilities in effect.
func lockLimits() (limit uint64, effective uint32, err error) {
	var rlimit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &rlimit); err != nil {
		return 0, 0, fmt.Errorf("read the limit of locked memory: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // 64 bits, the low ones first (capget(2))
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return 0, 0, fmt.Errorf("read capabilities: %w", err)
	}
	return rlimit.Cur, sets[0].Effective, nil
}

// mayLock gives an error where the limit applies to this process. Once memory is locked, every mapping counts towards
// the limit, used or not (mlock(2)), and the Go runtime ends the process when it gets no more memory.
func mayLock(limit uint64, effective uint32) error {
	if limit == unix.RLIM_INFINITY || effective&(1<<unix.CAP_IPC_LOCK) != 0 {
		return nil
	}
	return fmt.Errorf("the process may lock %d bytes only and has no CAP_IPC_LOCK", limit)
}

// raisePriority sets the niceness of every thread: on Linux each thread has its own (setpriority(2), "C library/kernel
// differences"), and a new thread has that of the thread that starts it. PRIO_PGRP would reach all threads at once, but
// also the other processes of the group, such as the shell script that runs us.
func raisePriority() error {
	done := map[int]bool{}
	// A thread that was not set yet may have started another one: go on until there are no new ones.
	for again := true; again; {
		again = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil || done[tid] {
				continue
			}
			done[tid], again = true, true
			err = unix.Setpriority(unix.PRIO_PROCESS, tid, niceness)
			if err != nil && !errors.Is(err, unix.ESRCH) { // the thread may have ended
				return fmt.Errorf("set niceness %d: %w", niceness, err)
			}
		}
	}
	return nil
}

// setOOMScore needs CAP_SYS_RESOURCE to go below 0 (proc_pid_oom_score_adj(5)).
func setOOMScore(score int) error {
	// No O_CREATE and no O_TRUNC, as this is no regular file.
	f, err := os.OpenFile("/proc/self/oom_score_adj", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(score))
	return err
}
