package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestHostileClients: a thousand clients that are silent, or send rubbish or overlong lines, to the ports of the
// monitor and of an agent delay nothing.
func TestHostileClients(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	before, err := b.Monitor.Usage()
	b.must(err)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for i := range 1000 {
		host, addr := b.Mon, "127.0.0.1:9988"
		if i%2 == 0 {
			host, addr = b.Mon, "10.77.0.11:9989"
		}
		c, err := host.Dial(b.ctx, addr)
		if err != nil {
			continue // a daemon may refuse or close it
		}
		open = append(open, c)
		switch i % 5 {
		case 1:
			_, _ = c.Write([]byte("\x00\xff\xfe||||\n\n \n"))
		case 2:
			_, _ = c.Write([]byte(strings.Repeat("x", 100_000)))
		case 3:
			_, _ = c.Write([]byte("SET_STATUS|1|db1|ONL"))
		}
	}
	since := time.Now()
	if out, _ := b.control("ping"); out != "OK: Pinged successfully!\n" {
		t.Errorf("ping says %q", out)
	}
	if d := time.Since(since); d > time.Second {
		t.Errorf("mmm_control took %v", d)
	}
	b.steps([]step{{"move_role writer db2",
		"OK: Role 'writer' has been moved from 'db1' to 'db2'. Now you can wait some time and check new roles info!",
		0}})
	b.must(l.WaitServer(b.ctx, 2))
	b.must(b.WaitWhole(b.ctx))
	after, err := b.Monitor.Usage()
	b.must(err)
	t.Logf("monitor: %d kB before, %d kB behind a thousand clients", before.ResidentKB, after.ResidentKB)
	if after.ResidentKB > 100_000 {
		t.Errorf("the monitor has grown to %d kB", after.ResidentKB)
	}
	b.balance(l)
}

// TestFullDisk: the writer dies while the disk of the status file is full. A spare file has the room for the decision,
// and the role moves. Where the file can't be written at all the monitor logs that, and tries again.
func TestFullDisk(t *testing.T) {
	dir := "/run/small"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	b := start(t, lab.Options{StatusDir: dir})
	l := b.load()
	filler, err := os.Create(filepath.Join(dir, "filler"))
	b.must(err)
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	b.must(filler.Close())
	b.must(l.Between(b.Node("db1").Server.Kill))
	b.must(l.WaitServer(b.ctx, 2))
	text, err := os.ReadFile(filepath.Join(dir, "mmm_mond.status"))
	b.must(err)
	if !strings.Contains(string(text), "db1|HARD_OFFLINE|\n") {
		t.Errorf("the status file:\n%s", text)
	}
	b.must(os.Remove(filler.Name()))
	inTheWay := filepath.Join(dir, "mmm_mond.status.spare")
	b.must(os.Remove(inTheWay))
	b.must(os.Mkdir(inTheWay, 0o755))
	b.must(b.Node("db1").Server.Start(b.ctx))
	b.logged(b.Monitor, "FATAL Couldn't write status file '/run/small/mmm_mond.status'")
	b.must(os.Remove(inTheWay))
	b.must(b.WaitWhole(b.ctx))
}

// TestBrokenStatusFile: the monitor warns of a damaged status file at its start, and the vote finds the roles where
// they are.
func TestBrokenStatusFile(t *testing.T) {
	b := start(t, lab.Options{})
	before := b.show()
	b.must(b.Monitor.Kill())
	b.must(os.WriteFile("/run/lab/mmm_mond.status", []byte("db1|ONLINE\x00\xff\nnobody|ONLINE|\ndb2|BOGUS|x\ndb3|ONLI"),
		0o640))
	b.must(b.Monitor.Start())
	b.must(b.WaitWhole(b.ctx))
	if now := b.show(); now != before {
		t.Errorf("show:\n%s\nbefore\n%s", now, before)
	}
	b.logged(b.Monitor, "it is truncated: its last line is ignored")
	b.logged(b.Monitor, `host "nobody" is not in the configuration: ignored`)
}

// TestBadConfiguration: a daemon names all errors of its configuration at once, with file and line, and does not start.
func TestBadConfiguration(t *testing.T) {
	b := prepare(t, lab.Options{Common: "bogus 1\nmax_kill_retries many"})
	for _, d := range []string{"configtest", "--foreground"} {
		out, err := b.Mon.Run(b.ctx, filepath.Join(b.Bin, "mmm_mond"), "--config", "/run/lab/mmm_mon.conf", d)
		if err == nil || !strings.Contains(out, "/run/lab/mmm_common.conf:4: ") {
			t.Errorf("mmm_mond %s: %v, %s", d, err, out)
		}
		agent, err := b.Mon.Run(b.ctx, filepath.Join(b.Bin, "mmm_agentd"), "--config", "/run/lab/db1/mmm_agent.conf", d)
		if err == nil || !strings.Contains(agent, "/run/lab/mmm_common.conf:4: ") ||
			!strings.Contains(agent, "/run/lab/mmm_common.conf:5: ") {
			t.Errorf("mmm_agentd %s: %v, %s", d, err, agent)
		}
	}
}
