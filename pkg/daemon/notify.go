package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// Notifier tells the service manager how we are (sd_notify(3)). The zero Notifier tells nobody.
type Notifier struct {
	// Ping asks the goroutine that decides, and returns when that has answered or ctx has ended. Only an answer makes a
	// sign of life: a ticker beside it would go on while it hangs. nil: as long as the process runs.
	Ping func(ctx context.Context)

	socket   string
	watchdog time.Duration // the manager restarts us after so long without a sign of life; 0: never
}

// NewNotifier takes what the service manager has put into the environment out of it: hooks and commands have nothing to
// tell. A watchdog's interval that makes no sense is none.
func NewNotifier() Notifier {
	n := Notifier{socket: os.Getenv("NOTIFY_SOCKET")}
	os.Unsetenv("NOTIFY_SOCKET")
	n.watchdog, _ = sd.SdWatchdogEnabled(true)
	return n
}

// statusLimit, in bytes, keeps a message within what the service manager takes, 4 kB.
const statusLimit = 1000

// Reloading tells that the configuration is being read again, since now. Ready is to follow, whatever comes of it.
func (n Notifier) Reloading() error {
	return n.Send(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec() + "STATUS=Reading the configuration again")
}

// Ready tells that the program works; status is a line for people.
func (n Notifier) Ready(status string) error {
	if len(status) > statusLimit {
		status = status[:statusLimit] + "..."
	}
	return n.Send(sd.SdNotifyReady + "\nSTATUS=" + strings.ToValidUTF8(status, ""))
}

// Send tells one state, such as READY=1. SdNotify of the library is not used for it: that one takes the socket from the
// environment each time, where children would find it too, and waits without end for a service manager that hangs.
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
		if n.alive(ctx, n.watchdog/3) {
			// One sign that does not get through is no failure; too many are, and the manager acts on them.
			_ = n.Send(sd.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// alive tells whether Ping is answered within limit.
func (n Notifier) alive(ctx context.Context, limit time.Duration) bool {
	if n.Ping == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	n.Ping(ctx)
	return ctx.Err() == nil
}

// String names the task.
func (n Notifier) String() string { return "watchdog" }
