package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	urgency  = -10 // nice(2): before the database server, which is what makes hosts busy
	lastKill = -900
)

// KeepResponsive asks the kernel to let this process run on a host that is short of CPU and memory: a lease that is not renewed in
// time costs the writer. What it may not do, for want of privileges, is logged and no error.
func KeepResponsive(log *slog.Logger) {
	// Only what has been touched is locked: Go reserves far more than it uses.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		log.Warn(fmt.Sprintf("Couldn't lock this process in memory: %v", err))
	}
	threads, err := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		// Threads have a priority each; those to come have that of the thread that starts them.
		if tid, convErr := strconv.Atoi(t.Name()); convErr == nil && err == nil {
			err = unix.Setpriority(unix.PRIO_PROCESS, tid, urgency)
		}
	}
	if err != nil {
		log.Warn(fmt.Sprintf("Couldn't raise the priority of this process: %v", err))
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(lastKill)), 0); err != nil {
		log.Warn(fmt.Sprintf("Couldn't keep this process from being killed when memory runs out: %v", err))
	}
}
