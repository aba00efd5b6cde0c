package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// Notifier tells the service manager how we are (sd_notify(3)). The zero Notifier tells nobody.
type Notifier struct {
	Healthy func() bool // whether a sign of life is given; nil: as long as the process runs

	socket   string
	watchdog time.Duration // the manager restarts us after so long without a sign of life; 0: never
}

// NewNotifier reads what the service manager put into the environment, as getenv gives it.
func NewNotifier(getenv func(string) string) Notifier {
	n := Notifier{socket: getenv("NOTIFY_SOCKET")}
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	if pid := getenv("WATCHDOG_PID"); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	return n
}

// Send tells one state, such as READY=1.
func (n Notifier) Send(state string) error {
	if n.socket == "" {
		return nil
	}
	// A leading @ is an abstract socket; net translates it.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}

// Run gives signs of life, where they are wanted, until ctx ends.
func (n Notifier) Run(ctx context.Context) error {
	if n.socket == "" || n.watchdog == 0 {
		return nil
	}
	// sd_watchdog_enabled(3) recommends half the time; a third survives a lost one.
	tick := time.NewTicker(n.watchdog / 3)
	defer tick.Stop()
	for {
		if n.Healthy == nil || n.Healthy() {
			// One sign that does not get through is no failure; too many are, and the manager acts on them.
			_ = n.Send("WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// String names the task.
func (n Notifier) String() string { return "watchdog" }
