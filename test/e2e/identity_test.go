package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

// otherNet is the address that a database host has on the second network.
func otherNet(n *lab.Node) netip.Addr {
	return netip.MustParseAddr(strings.Replace(n.IP.String(), "10.77.", "10.88.", 1))
}

// secondNetwork gives each database host an address on a second network, from which it may replicate too.
func (b *bench) secondNetwork() {
	b.Helper()
	for _, n := range b.DBs {
		b.must(n.SetAddress(netip.PrefixFrom(otherNet(n), 24), true))
		b.must(n.Server.Exec(b.ctx, "SET sql_log_bin=0", "CREATE USER repl@'10.88.0.%' IDENTIFIED BY 'replpw'",
			"GRANT REPLICATION SLAVE ON *.* TO repl@'10.88.0.%'", "SET sql_log_bin=1"))
	}
}

// hostNames lets all processes of this test resolve the names of the database hosts, NAME.example.com.
func (b *bench) hostNames() {
	b.Helper()
	text := "127.0.0.1 localhost\n"
	for _, n := range b.DBs {
		text += fmt.Sprintf("%s %s.example.com\n", n.IP, n.Name)
	}
	file := filepath.Join(b.TempDir(), "hosts")
	b.must(os.WriteFile(file, []byte(text), 0o644))
	b.must(syscall.Mount(file, "/etc/hosts", "", syscall.MS_BIND, ""))
	b.Cleanup(func() { b.must(syscall.Unmount("/etc/hosts", syscall.MNT_DETACH)) })
}

// told waits for a text of `show`. Unlike until it does not compare the addresses on the interfaces: the hosts have
// some here that `show` does not know.
func (b *bench) told(what string, done func(show string) bool) {
	b.Helper()
	b.must(lab.Wait(b.ctx, what, func() (bool, string) {
		out, _, err := b.Control(b.ctx, "show")
		return err == nil && done(out), out
	}))
}

// met waits until a host's server replicates from an address and its agent knows which server that is.
func (b *bench) met(n *lab.Node, address string) {
	b.Helper()
	b.must(lab.Wait(b.ctx, n.Name+" to be connected to "+address, func() (bool, string) {
		r, err := n.Server.Replica(b.ctx)
		if err != nil || r["Slave_IO_Running"] != "Yes" {
			return false, fmt.Sprint(err, r["Last_IO_Error"])
		}
		known, err := os.ReadFile(filepath.Join("/run/lab", n.Name, "mmm_agentd.state.servers"))
		return strings.Contains(string(known), address), fmt.Sprint(string(known), err)
	}))
}

// TestSourceByAnotherAddress: hosts replicate from the writer by its name, or by its address on a second network, and
// count as its replicas all the same. The writer dies with transactions that no other host has. When it is back they
// are named, and it stays out; after set_online the others replicate from it and get them.
func TestSourceByAnotherAddress(t *testing.T) {
	for i, kind := range servers.Tested()[:2] {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) {
			o := alone(false)
			o.Server = kind
			b := start(t, o)
			b.secondNetwork()
			b.hostNames()
			db1, db2, db3 := b.Node("db1"), b.Node("db2"), b.Node("db3")
			from := []string{"db1.example.com", otherNet(db1).String()}[i]
			for _, n := range b.DBs[1:] {
				b.must(n.Server.Exec(b.ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_HOST='"+from+
					"', MASTER_HEARTBEAT_PERIOD=1", "START SLAVE"))
			}
			for _, n := range b.DBs[1:] {
				b.met(n, from)
			}
			if findings, _ := b.doctor(); slices.ContainsFunc(findings,
				func(f found) bool { return f.Name == "replication-source" }) {
				t.Errorf("the doctor does not know db1: %v", findings)
			}
			b.must(b.WaitLevel(b.ctx, b.DBs...))
			for _, n := range b.DBs[1:] {
				b.must(n.Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
			}
			for i := range 2 {
				b.must(db1.Server.Exec(b.ctx, fmt.Sprintf("INSERT INTO app.t VALUES (%d, 1, 0)", extra+i)))
			}
			b.must(db1.Server.Kill())
			b.must(db2.Agent.Kill()) // the new process can't ask the dead server for its identity
			b.must(db2.Agent.Start())
			b.told("db2 to be the writer", func(string) bool { return b.writer() == "db2" })
			b.logged(db2.Agent, "Nothing of host 'db1' beyond ")
			b.must(db1.Server.Start(b.ctx))
			b.told("the transactions to be named, and db1 to stay out", func(show string) bool {
				return strings.Contains(show, "# Warning: host db1: it has 2 transactions that nobody else has: ") &&
					strings.Contains(show, "db1(10.77.0.11) master/AWAITING_RECOVERY")
			})
			b.follows("db3", "db2")
			if n, err := db3.Server.Value(b.ctx, "SELECT COUNT(*) FROM app.t WHERE id >= 1000000"); err != nil ||
				n != "0" {
				t.Errorf("db3 has %s rows that only db1 should have (%v)", n, err)
			}
			if r, err := db2.Server.Replica(b.ctx); err != nil || r["Slave_IO_Running"] != "No" ||
				r["Master_Host"] != from {
				t.Errorf("db2 replicates from %s: %s (%v)", r["Master_Host"], r["Slave_IO_Running"], err)
			}
			if i == 0 {
				beat,
					err := db3.Server.Value(b.ctx,
					"SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='SLAVE_HEARTBEAT_PERIOD'")
				if err != nil || beat != "1.000" {
					t.Errorf("db3 was moved, and its heartbeat is %s (%v)", beat, err)
				}
				return // in strict mode MariaDB does not take these GTIDs after later ones
			}
			if out, status := b.control("set_online db1"); status != 0 {
				t.Fatal(out)
			}
			b.has("db2", 2)
			b.has("db3", 2)
			b.logged(db2.Agent, "Host 'db1' has been looked at: replicating from it again")
		})
	}
}

// TestSourceIsAStranger: a candidate that replicates from a server outside of the cluster receives nothing of the
// writer. A move to it is refused, and when the writer dies it is not promoted.
func TestSourceIsAStranger(t *testing.T) {
	b := start(t, leased())
	b.load().Stop()
	b.must(b.WaitLevel(b.ctx, b.DBs...))
	outsider, err := b.Outsider(b.ctx)
	b.must(err)
	b.must(b.Node("db2").Server.Exec(b.ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_HOST='"+outsider.IP.String()+"'",
		"START SLAVE"))
	b.logged(b.Monitor, "Host 'db2' receives nothing of what 'db1' writes")
	out, status := b.control("move_role writer db2")
	if status == 0 ||
		!strings.Contains(out,
			"Host 'db2' replicates from the server with server_id 9, which is no host of the configuration") {
		t.Errorf("move_role: %s", out)
	}
	b.must(b.Node("db1").Server.Kill())
	b.logged(b.Monitor, "Role 'writer(10.77.0.100)' is given to nobody: ")
	if w := b.writer(); w != "" {
		t.Errorf("the writer is %s", w)
	}
	b.must(b.Node("db1").Server.Start(b.ctx))
	b.told("db1 to be the writer again", func(string) bool { return b.writer() == "db1" })
}
