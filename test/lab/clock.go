package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Clock is the CLOCK_MONOTONIC that a program of one host reads. The lab can set it forward while the program runs,
// as if a day had passed: a promise that was given before is a day old then.
//
// A time namespace (time_namespaces(7)) can't do that: the offset of a process is settled before it starts. So the
// kernel asks the lab whenever the program calls clock_gettime(CLOCK_MONOTONIC) (seccomp_unotify(2)). The programs read
// the clock in this way for their decisions. The timers of Go's runtime read the vDSO, and are not set forward.
type Clock struct{ ahead atomic.Int64 }

// Forward sets the clock forward by d.
func (c *Clock) Forward(d time.Duration) { c.ahead.Add(int64(d)) }

// clockVariable is in the environment of a process that is about to become a program with a Clock.
const clockVariable = "MMM_LAB_CLOCK"

// clockSocket is the descriptor of a socket in that process. Through it the process sends the lab the descriptor from
// which the kernel's questions are read.
const clockSocket = 3

// command returns a command whose program reads this clock. Once the command has started answer must be called: it has
// the kernel's questions answered.
func (c *Clock) command(program string, args ...string) (cmd *exec.Cmd, answer func() error, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket for a clock: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "clock")
	cmd = exec.Command("/proc/self/exe", append([]string{program}, args...)...)
	cmd.Env = append(os.Environ(), clockVariable+"=1")
	cmd.ExtraFiles = []*os.File{theirs}
	return cmd, func() error {
		defer unix.Close(pair[0])
		if err := theirs.Close(); err != nil {
			return err
		}
		questions, err := receiveDescriptor(pair[0])
		if err != nil {
			return fmt.Errorf("give %s a clock: %w", program, err)
		}
		go c.serve(questions)
		return nil
	}, nil
}

// underClock is run by the process that has clockVariable: it has its calls of clock_gettime(CLOCK_MONOTONIC) answered
// by the lab, and becomes the program in its arguments. It returns an exit status where that fails.
func underClock() int {
	runtime.LockOSThread() // the filter is for this thread, which becomes the program
	questions, err := filterClock()
	if err == nil {
		err = unix.Sendmsg(clockSocket, []byte{0}, unix.UnixRights(questions), nil, 0)
	}
	if err == nil {
		unix.CloseOnExec(clockSocket)
		env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, clockVariable+"=") })
		err = unix.Exec(os.Args[1], os.Args[1:], env)
	}
	fmt.Fprintln(os.Stderr, "lab: start a program with a clock of its own:", err)
	return 1
}

// filterClock makes the kernel ask for the answer to each clock_gettime(CLOCK_MONOTONIC) of this thread, and returns
// the descriptor from which the questions are read (seccomp(2)). The offsets are those of struct seccomp_data.
func filterClock() (questions int, err error) {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLOCK_GETTIME, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // the low half of args[0]
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.CLOCK_MONOTONIC, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, fmt.Errorf("install a filter: %w", errno)
	}
	return int(fd), nil
}

// receiveDescriptor receives a descriptor that another process sends through a socket (unix(7), SCM_RIGHTS).
func receiveDescriptor(socket int) (int, error) {
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) == 0 {
		return 0, errors.Join(err, errors.New("the process ended before it sent the descriptor"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// The kernel's struct seccomp_notif and struct seccomp_notif_resp.
type (
	question struct {
		id         uint64
		pid, flags uint32
		nr, arch   uint32
		ip         uint64
		args       [6]uint64
	}
	reply struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
)

// serve answers the kernel's questions until the program has ended.
func (c *Clock) serve(questions int) {
	defer unix.Close(questions)
	for {
		ready := []unix.PollFd{{Fd: int32(questions), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err == unix.EINTR {
			continue
		} else if err != nil || ready[0].Revents&unix.POLLIN == 0 {
			return
		}
		var q question
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(questions), unix.SECCOMP_IOCTL_NOTIF_RECV,
			uintptr(unsafe.Pointer(&q))); errno != 0 {
			continue // the program was killed, or its call was interrupted
		}
		r := reply{id: q.id}
		if c.tell(q) != nil {
			r.errno = -int32(unix.EFAULT)
		}
		// An error means that the program does not wait for the answer any more.
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(questions), unix.SECCOMP_IOCTL_NOTIF_SEND,
			uintptr(unsafe.Pointer(&r)))
	}
}

// tell writes the clock's time into the program's memory, at the address that the program has given clock_gettime.
func (c *Clock) tell(q question) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	now = unix.NsecToTimespec(now.Nano() + c.ahead.Load())
	size := int(unsafe.Sizeof(now))
	local := []unix.Iovec{{Base: (*byte)(unsafe.Pointer(&now))}}
	local[0].SetLen(size)
	_, err := unix.ProcessVMWritev(int(q.pid), local, []unix.RemoteIovec{{Base: uintptr(q.args[1]), Len: size}}, 0)
	return err
}
