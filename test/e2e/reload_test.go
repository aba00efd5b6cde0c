package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// edit replaces the first occurrence of a text in one of the configuration files in the monitor's folder.
func (b *bench) edit(name, old, now string) {
	b.Helper()
	file := filepath.Join(filepath.Dir(b.Monitor.LogPath()), name)
	text, err := os.ReadFile(file)
	b.must(err)
	if !strings.Contains(string(text), old) {
		b.Fatalf("%s has no %q", name, old)
	}
	b.must(os.WriteFile(file, []byte(strings.Replace(string(text), old, now, 1)), 0o640))
}

// reload sends a daemon SIGHUP and waits until its log has the text once more than before.
func (b *bench) reload(d *lab.Daemon, text string) {
	b.Helper()
	before := strings.Count(d.Log(), text)
	b.must(d.Signal(syscall.SIGHUP))
	b.must(lab.Wait(b.ctx, "the log to say "+text, func() (bool, string) {
		return strings.Count(d.Log(), text) > before,
			d.Log()
	}))
}

const (
	reloaded    = "INFO The new configuration counts"
	notReloaded = "ERROR Not reloaded, the old configuration still counts: "
)

// TestReload: checks, timings and addresses are changed by reloads under load; nothing moves and no write fails. A
// configuration with an error, or one that would take roles from healthy hosts, is refused, and the old one stays.
func TestReload(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	before := b.show()
	failed, _ := l.Errors()
	still := func() { // nothing has moved and no write has failed since the beginning
		t.Helper()
		b.must(b.WaitWhole(b.ctx))
		n, _ := l.Acked()
		b.must(lab.Wait(b.ctx, "more writes", func() (bool, string) { m, _ := l.Acked(); return m > n+100, "" }))
		b.quiet(l, failed, before)
	}

	b.reload(b.Monitor, "INFO Nothing to do: the configuration has not changed")
	b.edit("mmm_mon.conf", "check_period 0.25", "check_period 0.3")
	b.reload(b.Monitor, reloaded)
	still()
	b.control("set_manual")
	b.edit("mmm_mon.conf", "auto_set_online 1", "auto_set_online 2")
	b.reload(b.Monitor, reloaded)
	still()
	if mode, _ := b.control("mode"); strings.TrimSpace(mode) != "MANUAL" {
		t.Errorf("mode %s: what the operator has set is lost", mode)
	}
	b.control("set_active")
	b.edit("mmm_common.conf", "agent_user mmm_agent", "agent_user mmm_agent\n mysql_port 3306\n agent_port 9989")
	b.edit("mmm_common.conf", "active_master_role writer",
		"active_master_role writer\nmax_kill_retries 7\narp_refresh 5")
	for _, n := range b.DBs {
		b.reload(n.Agent, reloaded)
		still()
	}

	b.edit("mmm_mon.conf", "auto_set_online 2", "auto_set_online soon")
	b.reload(b.Monitor, notReloaded+filepath.Join(filepath.Dir(b.Monitor.LogPath()), "mmm_mon.conf"))
	b.edit("mmm_mon.conf", "auto_set_online soon", "auto_set_online 2")
	b.edit("mmm_mon.conf", "monitor_password monpw", "monitor_password wrong")
	b.reload(b.Monitor, notReloaded+"check 'mysql' on 'db1', which is ok, would fail: UNKNOWN")
	b.edit("mmm_mon.conf", "monitor_password wrong", "monitor_password monpw")
	still()

	// A further reader address. The agents are reloaded first, so that they know it when the monitor gives it out.
	b.edit("mmm_common.conf", "10.77.0.103\n", "10.77.0.103, 10.77.0.104\n")
	for _, n := range b.DBs {
		b.reload(n.Agent, reloaded)
	}
	b.reload(b.Monitor, reloaded)
	b.until("the new address to be there", func(show string) bool {
		return strings.Contains(show,
			"reader(10.77.0.104)")
	})
	if n, err := l.Errors(); n != failed || b.writer() != "db1" {
		t.Errorf("%d writes failed (%v), the writer is on %s", n-failed, err, b.writer())
	}
	b.edit("mmm_common.conf", "10.77.0.103, 10.77.0.104\n", "10.77.0.103\n")
	b.reload(b.Monitor, notReloaded+"reader(10.77.0.104) is gone from the configuration, and db")
	b.balance(l)
}

// TestReloadAlone: the other master is cut off, so that only the monitor vouches for the writer. A reload, of the
// monitor or of the writer's agent, ends before the lease does.
func TestReloadAlone(t *testing.T) {
	b := start(t, lab.Options{Lease: 6, Mon: " flap_count 1\n"})
	l := b.load()
	b.must(b.Node("db2").Cut(true))
	b.must(lab.Wait(b.ctx, "db2 to be offline and without roles", func() (bool, string) {
		show := b.show()
		gone := strings.Contains(show, "db2(10.77.0.12) master/HARD_OFFLINE. Roles: \n")
		return gone && strings.Count(show, "reader(") == 3 && !strings.Contains(show, "leaving"), show
	}))
	n, _ := l.Acked()
	b.must(lab.Wait(b.ctx, "more writes", func() (bool, string) { m, _ := l.Acked(); return m > n+100, "" }))
	failed, _ := l.Errors()
	for _, step := range []string{"1", "2"} {
		b.edit("mmm_mon.conf", "flap_count ", "flap_count "+step)
		b.reload(b.Monitor, reloaded)
		b.reload(b.Node("db1").Agent, "INFO Nothing to do")
		b.edit("mmm_common.conf", "active_master_role writer", "max_kill_retries 1"+step+"\nactive_master_role writer")
		b.reload(b.Node("db1").Agent, reloaded)
		n, _ := l.Acked()
		b.must(lab.Wait(b.ctx, "more writes", func() (bool, string) { m, _ := l.Acked(); return m > n+600, "" }))
		if n, err := l.Errors(); n != failed || b.writer() != "db1" {
			t.Errorf("%d writes failed (%v), the writer is on %s", n-failed, err, b.writer())
		}
	}
	l.Stop()
}

// TestTermsByReload: the lease and the candidates are changed under load, by reloads of one daemon after the other.
// Nothing moves, no write fails, and the new terms count.
func TestTermsByReload(t *testing.T) {
	b := start(t, lab.Options{Lease: 3})
	l := b.load()
	before := b.show()
	failed, _ := l.Errors()
	daemons := []*lab.Daemon{b.Node("db2").Agent, b.Monitor, b.Node("db1").Agent, b.Node("db3").Agent}
	still := func(what string) {
		t.Helper()
		since := time.Now() // 5 s is longer than any lease here: one that nobody prolongs would end
		b.must(lab.Wait(b.ctx, "a lease to pass", func() (bool, string) {
			return time.Since(since) > 5*time.Second,
				""
		}))
		n, _ := l.Acked()
		b.must(lab.Wait(b.ctx, "more writes", func() (bool, string) { m, _ := l.Acked(); return m > n+100, "" }))
		if n, err := l.Errors(); n != failed || b.show() != before {
			t.Errorf("%s: %d writes failed (%v)\n%s\nbefore\n%s", what, n-failed, err, b.show(), before)
			failed, before = n, b.show()
		}
	}
	change := func(old, now, logged string) {
		t.Helper()
		b.edit("mmm_common.conf", old, now)
		for _, d := range daemons {
			b.reload(d, reloaded)
		}
		b.logged(b.Monitor, logged)
		still(now)
	}
	change("writer_lease 3", "writer_lease 4",
		"Role 'writer(10.77.0.100)' stays on host 'db1' under other terms: candidates db1,db2, writer_lease 4s")
	change("writer_lease 4", "writer_lease 2", "candidates db1,db2, writer_lease 2s")
	change("hosts db1, db2\n", "hosts db1, db2, db3\n", "candidates db1,db2,db3, writer_lease 2s")
	change("hosts db1, db2, db3\n", "hosts db1, db2\n", "candidates db1,db2, writer_lease 2s; before: db1,db2,db3, 2s")
	// While writer_lease is 0 `show` has a warning; afterwards it is as before.
	before = "# Warning: writer_lease is 0: a writer that can't be reached may stay writer beside a new one\n" + before
	change("writer_lease 2", "writer_lease 0", "candidates db1,db2, writer_lease 0s")
	_, before, _ = strings.Cut(before, "\n")
	change("writer_lease 0", "writer_lease 3", "candidates db1,db2, writer_lease 3s; before: db1,db2, 0s")

	// The writer has a lease again: when its host is cut off, db2 takes over.
	b.must(b.Node("db1").Cut(true))
	b.until("db2 to be the writer", func(show string) bool { w := b.Writer(show); return w != nil && w.Name == "db2" })
	b.must(b.Node("db1").Cut(false))
	l.Stop()
}
