package e2e

import (
	"strings"
	"testing"

	"mysql-mmm/test/lab"
)

// quiet fails the test where `show` is not as before, or a write has failed since errorsBefore was counted.
func (b *bench) quiet(l *lab.Load, errorsBefore int, showBefore string) {
	b.Helper()
	if n, err := l.Errors(); n != errorsBefore {
		b.Errorf("%d writes failed: %v", n-errorsBefore, err)
	}
	if now := b.show(); now != showBefore {
		b.Errorf("roles moved:\n%s\nbefore\n%s", now, showBefore)
	}
}

// TestMonitorRestarted: the monitor is killed and started again under load: no role moves and no write fails.
func TestMonitorRestarted(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	before := b.show()
	failed, _ := l.Errors()
	b.must(b.Monitor.Kill())
	if out, status := b.control("show"); status != 1 || out != "ERROR: Can't connect to monitor daemon!\n" {
		t.Errorf("mmm_control without a monitor: %q, exit %d", out, status)
	}
	b.must(b.Monitor.Start())
	b.must(b.WaitWhole(b.ctx))
	b.quiet(l, failed, before)
	b.must(b.Monitor.Stop(b.ctx))
	b.must(b.Monitor.Start())
	b.must(b.WaitWhole(b.ctx))
	n, _ := l.Acked()
	b.must(lab.Wait(b.ctx, "more writes", func() (bool, string) { m, _ := l.Acked(); return m > n+100, "" }))
	b.quiet(l, failed, before)
	b.logged(b.Monitor, "writer(10.77.0.100)      db1     Yes     Yes     Yes")
	b.balance(l)
}

// TestAgentRestarted: the writer's agent is killed and started again under load: the address stays, no write fails.
func TestAgentRestarted(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	before := b.show()
	failed, _ := l.Errors()
	b.must(b.Node("db1").Agent.Kill())
	b.until("the monitor to miss the agent", func(show string) bool {
		return strings.HasPrefix(show, "# Warning: agent on host db1 is not reachable\n")
	})
	b.must(b.Node("db1").Agent.Start())
	b.must(b.WaitWhole(b.ctx))
	n, _ := l.Acked()
	b.must(lab.Wait(b.ctx, "more writes", func() (bool, string) { m, _ := l.Acked(); return m > n+100, "" }))
	b.quiet(l, failed, before)
	b.logged(b.Monitor, "FATAL Agent on host 'db1' is reachable again")
	b.balance(l)
}

// TestSecondCopy: a second monitor with the same pid file does not start, and the first one goes on.
func TestSecondCopy(t *testing.T) {
	b := start(t, lab.Options{})
	first := *b.Monitor
	b.must(b.Monitor.Start())
	b.logged(b.Monitor, "FATAL Can't run second copy of mmm_mond")
	*b.Monitor = first
	b.must(b.WaitWhole(b.ctx))
}
