package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestPowerCut: all machines lose power at once and come back in another order. The host that was the last writer, and
// so has all that was acknowledged, becomes the writer again, without set_online by an operator.
func TestPowerCut(t *testing.T) {
	o := leased()
	o.AutoSetOnline, o.Mon = 3600, o.Mon+"\n wait_for_other_master 30"
	b := prepare(t, o)
	for _, n := range b.DBs {
		b.must(n.Agent.Start())
	}
	b.must(b.Monitor.Start())
	for _, n := range b.DBs {
		b.until(n.Name+" to be up", func(show string) bool {
			up := n.Name + "(" + n.IP.String() + ") " + mode(n.Name)
			return strings.Contains(show, up+"/AWAITING_RECOVERY") || strings.Contains(show, up+"/ONLINE")
		})
		if out, status := b.control("set_online " + n.Name); status != 0 {
			t.Fatal(out)
		}
	}
	b.must(b.WaitWhole(b.ctx))
	l := b.load()
	if out, status := b.control("move_role writer db2"); status != 0 { // db1 is the first host of the list
		t.Fatal(out)
	}
	b.must(l.WaitServer(b.ctx, 2))
	b.semiSync("db2")
	written, _ := l.Acked()
	b.must(lab.Wait(b.ctx, "some writes", func() (bool, string) { n, _ := l.Acked(); return n > written+50, "" }))

	b.must(l.Between(func() error {
		b.must(b.Monitor.Kill()) // first: it must not see the others die one after the other
		for _, n := range b.DBs {
			b.must(n.Server.Kill())
			b.must(n.Agent.Kill())
		}
		return nil
	}))
	b.must(lab.Wait(b.ctx, "the addresses to go, as they do in a reboot", func() (bool, string) {
		return !slices.ContainsFunc(b.DBs, func(n *lab.Node) bool {
			have, err := n.Addresses()
			return err != nil || len(have) > 0
		}), ""
	}))
	b.reboot()
	for _, name := range []string{"db3", "db1"} {
		b.must(b.Node(name).Server.Start(b.ctx))
		b.must(b.Node(name).Agent.Start())
	}
	b.must(b.Monitor.Start())
	b.logged(b.Monitor,
		"Host 'db2' was the writer and can't be reached, and the others have just booted: waiting up to 30 seconds for it")
	since := time.Now()
	b.must(lab.Wait(b.ctx, "more than a lease", func() (bool, string) { return time.Since(since) > 6*time.Second, "" }))
	if have, err := b.Node("db1").Addresses(); err != nil || slices.Contains(have, netip.MustParseAddr(lab.WriterIP)) {
		t.Errorf("db1 has %v before the last writer is back (%v)", have, err)
	}
	b.must(b.Node("db2").Server.Start(b.ctx))
	b.must(b.Node("db2").Agent.Start())
	b.until("db2 to be the writer again", func(show string) bool {
		w := b.Writer(show)
		return w != nil && w.Name == "db2"
	})
	b.must(lab.Wait(b.ctx, "writes to go on", func() (bool, string) {
		n, server := l.Acked()
		return server == 2 &&
			n > written+100, ""
	}))
	l.Stop()
	lost, err := l.Lost(b.ctx, b.Node("db2").Server)
	if err != nil || len(lost) > 0 {
		t.Errorf("acknowledged and lost: %v (%v)", lost, err)
	}
}

// reboot lets programs that start from now on see an uptime of 3 s and a new boot id.
func (b *bench) reboot() {
	b.Helper()
	for file, text := range map[string]string{"/proc/uptime": "3.00 3.00\n",
		"/proc/sys/kernel/random/boot_id": "01234567-89ab-4cde-8f01-23456789abcd\n"} {
		fake := filepath.Join(b.TempDir(), filepath.Base(file))
		b.must(os.WriteFile(fake, []byte(text), 0o644))
		b.must(syscall.Mount(fake, file, "", syscall.MS_BIND, ""))
		b.Cleanup(func() {
			if err := syscall.Unmount(file, syscall.MNT_DETACH); err != nil {
				b.Error(err)
			}
		})
	}
}

func mode(host string) string {
	if host == "db3" {
		return "slave"
	}
	return "master"
}
