package e2e

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// The tests of this file are for situations in which MMM 2.2 failed its users (docs/faq.md). Others are in
// fault_test.go.

// TestMonitorDeadThenHostCut: the monitor is dead, and then the writer's host is cut off. The address goes off by
// itself, and the role moves when the monitor is back.
func TestMonitorDeadThenHostCut(t *testing.T) {
	b := start(t, leased())
	l := b.load()
	db1 := b.Node("db1")
	b.must(b.Monitor.Kill())
	cut := time.Now()
	b.must(l.Between(func() error { return db1.Cut(true) })) // else a write on its way might reach the slave alone
	b.must(lab.Wait(b.ctx, "the address to go", func() (bool, string) {
		have, err := db1.Addresses()
		return err == nil && len(have) == 0, ""
	}))
	if d := time.Since(cut); d > 5*time.Second {
		t.Errorf("the address was there for %v without anybody to vouch for it", d)
	}
	b.must(b.Monitor.Start())
	b.must(l.WaitServer(b.ctx, 2))
	b.must(db1.Cut(false))
	b.must(b.WaitWhole(b.ctx))
}

// TestHeldReadOnly: the server of a candidate that is not the writer is closed for writes again, whoever has opened it.
// The agent does so under a monitor, and also when it has just been started while no monitor runs.
func TestHeldReadOnly(t *testing.T) {
	b := start(t, leased())
	db2 := b.Node("db2")
	closed := func() {
		t.Helper()
		b.must(db2.Server.Exec(b.ctx, "SET GLOBAL read_only=0"))
		b.must(lab.Wait(b.ctx, "db2 to be read-only", func() (bool, string) {
			v, err := db2.Server.Value(b.ctx, "SELECT @@read_only")
			return err == nil && v == "1", v
		}))
	}
	closed()
	b.must(b.Monitor.Kill())
	b.must(db2.Agent.Kill())
	b.must(db2.Agent.Start())
	closed()
}

// calmly is how long each disturbance of TestNothingHappens lasts: make calm takes five minutes for each.
var calmly = flag.Duration("calmly", 6*time.Second, "how long each disturbance of TestNothingHappens lasts")

// TestNothingHappens: filtered ICMP while the servers answer, lost packets and a busy machine cause no failover.
func TestNothingHappens(t *testing.T) {
	b := start(t, leased())
	l := b.load()
	calm := func(what string) {
		t.Helper()
		since := time.Now()
		b.must(lab.Wait(b.ctx, what, func() (bool, string) { return time.Since(since) > *calmly, "" }))
		if show := b.show(); b.writer() != "db1" || strings.Count(show, "/ONLINE.") != 3 {
			t.Errorf("%s:\n%s", what, show)
		}
	}
	_, err := b.Node("db1").Run(b.ctx, "iptables", "-I", "INPUT", "-p", "icmp", "-j", "DROP")
	b.must(err)
	calm("ICMP filtered")
	_, err = b.Node("db1").Run(b.ctx, "iptables", "-D", "INPUT", "-p", "icmp", "-j", "DROP")
	b.must(err)
	b.must(b.Node("db1").Lose(20))
	b.must(b.Mon.Lose(20))
	calm("one packet in five lost")
	b.must(b.Node("db1").Lose(0))
	b.must(b.Mon.Lose(0))
	var busy []*exec.Cmd
	for range 4 {
		c := exec.Command("/bin/sh", "-c", "while :; do :; done")
		b.must(c.Start())
		busy = append(busy, c)
	}
	calm("every core busy")
	for _, c := range busy {
		b.must(c.Process.Kill())
		_ = c.Wait()
	}
	l.Stop()
	if log := b.Monitor.Log(); strings.Contains(log, "HARD_OFFLINE") {
		t.Error(log)
	}
}

// TestAddressConflict: an agent does not add an address that another machine has, and `show` and the log say so.
func TestAddressConflict(t *testing.T) {
	b := prepare(t, leased())
	writer := netip.MustParsePrefix(lab.WriterIP + "/32")
	b.must(b.Client.SetAddress(writer, true))
	for _, n := range b.DBs {
		b.must(n.Agent.Start())
	}
	b.must(b.Monitor.Start())
	b.must(lab.Wait(b.ctx, "the conflict to be shown", func() (bool, string) {
		show, _, _ := b.Control(b.ctx, "show")
		return strings.Contains(show, "address conflict"), show
	}))
	b.logged(b.Monitor, "has "+lab.WriterIP+": address conflict")
	b.must(b.Client.SetAddress(writer, false))
	b.must(b.WaitWhole(b.ctx))
}

// TestMisledNeighbour: the neighbour table of the monitor's host has a wrong hardware address for the writer's address.
// The monitor notices, and has the address announced again.
func TestMisledNeighbour(t *testing.T) {
	o := leased()
	o.Common = "arp_refresh 0"
	b := start(t, o)
	b.must(lab.Wait(b.ctx, "the monitor to notice", func() (bool, string) {
		// Again and again: for some seconds the agent still announces its new address.
		b.must(b.Mon.Mislead(netip.MustParseAddr(lab.WriterIP)))
		return strings.Contains(b.Monitor.Log(), "Address "+lab.WriterIP+
			" does not answer here, though host 'db1' has it and answers: it is announced again"), ""
	}))
	b.logged(b.Monitor, "Address "+lab.WriterIP+" of host 'db1' answers again")
	if w := b.writer(); w != "db1" {
		t.Errorf("the writer is on %s", w)
	}
}

// TestForgedOrder: with agent_secret the cluster works, and agents do not obey orders of somebody who does not know the
// secret.
func TestForgedOrder(t *testing.T) {
	b := start(t, lab.Options{Common: "agent_secret a-secret-that-is-long-enough"})
	conn, err := b.Client.Dial(b.ctx, b.Node("db2").IP.String()+":9989")
	b.must(err)
	defer conn.Close()
	_, err = conn.Write([]byte("SET_STATUS|1|db2|ONLINE|writer(" + lab.WriterIP + ")|db2\n"))
	b.must(err)
	answer := make([]byte, 200)
	n, err := conn.Read(answer)
	b.must(err)
	if got := string(answer[:n]); !strings.HasPrefix(got, "ERROR: Not authenticated") {
		t.Errorf("answer %q", got)
	}
	if show := b.show(); strings.Contains(show, "#") || b.writer() != "db1" {
		t.Errorf("show:\n%s", show)
	}
	for _, d := range []*lab.Daemon{b.Monitor, b.Node("db1").Agent} {
		if strings.Contains(d.Log(), "a-secret") {
			t.Error("the secret is in the log")
		}
	}
}

// TestDeadServerAtStart: the writer's server does not run while the monitor starts. The agent answers that it does not
// run, and goes on itself; db2 becomes the writer.
func TestDeadServerAtStart(t *testing.T) {
	b := start(t, leased())
	b.must(b.Monitor.Kill())
	b.must(b.Node("db1").Server.Kill())
	conn, err := b.Mon.Dial(b.ctx, b.Node("db1").IP.String()+":9989")
	b.must(err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET_SYSTEM_STATUS|1|db1\n"))
	b.must(err)
	answer := make([]byte, 500)
	n, err := conn.Read(answer)
	b.must(err)
	if got := string(answer[:n]); !strings.HasPrefix(got, "OK: Returning status!||") ||
		!strings.Contains(got, "does not run") {
		t.Errorf("answer %q", got)
	}
	b.must(b.Monitor.Start())
	b.until("db2 to be the writer", func(show string) bool {
		w := b.Writer(show)
		return w != nil && w.Name == "db2"
	})
}

// TestSecondMonitorOnOneState: a second monitor on the same status file does not start. Two would give the number of an
// epoch to different decisions.
func TestSecondMonitorOnOneState(t *testing.T) {
	b := start(t, leased())
	text, err := os.ReadFile("/run/lab/mmm_mon.conf")
	b.must(err)
	other := filepath.Join(t.TempDir(), "mmm_mon.conf")
	conf := strings.Replace(string(text), "include mmm_common.conf", "include /run/lab/mmm_common.conf", 1)
	conf = strings.Replace(conf, "ip 127.0.0.1", "ip 127.0.0.1\n port 9987", 1)
	b.must(os.WriteFile(other, []byte(conf), 0o640))
	out, err := b.Mon.Run(b.ctx, filepath.Join(b.Bin, "mmm_mond"), "--config", other, "--foreground", "--pid-file",
		other+".pid", "--log-file", other+".log")
	if err == nil {
		t.Fatal("a second monitor runs on the same state")
	}
	log, _ := os.ReadFile(other + ".log")
	if !strings.Contains(out+string(log), "another monitor works on this status file") {
		t.Errorf("it says %s %s", out, log)
	}
}
