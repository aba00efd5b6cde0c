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

// Notifier tells the service manager the state of this program (sd_notify(3)). The zero Notifier tells nobody.
type Notifier struct {
	// Ping asks the goroutine that decides, and returns when that goroutine has answered or ctx has ended. A sign of
	// life is sent only after an answer: a mere ticker would go on while that goroutine hangs. nil: a sign of life is
	// sent for as long as the process runs.
	Ping func(ctx context.Context)

	socket   string
	watchdog time.Duration // the manager restarts us after so long without a sign of life; 0: never
}

// NewNotifier reads the variables of the service manager and removes them from the environment, as hooks and commands
// are not to send messages to it. An invalid watchdog interval counts as none.
func NewNotifier() Notifier {
	n := Notifier{socket: os.Getenv("NOTIFY_SOCKET")}
	os.Unsetenv("NOTIFY_SOCKET")
	n.watchdog, _ = sd.SdWatchdogEnabled(true)
	return n
}

// statusLimit, in bytes, keeps a message within what the service manager takes, 4 kB.
const statusLimit = 1000

// Reloading tells that the configuration is being read again from now on. Ready has to follow, whatever the result.
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

// Send tells one state, such as READY=1. It does not use SdNotify of the library, which takes the socket from the
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
			// A lost sign of life is no failure of ours. When too many are lost, the manager restarts us.
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
