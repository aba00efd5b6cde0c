package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/store"
	"mysql-mmm/pkg/wire"
)

// agents answers for all agents. An agent in hang says nothing, one in down can't be connected to.
type agents struct {
	mu    sync.Mutex
	hang  map[string]bool
	down  map[string]bool
	plain map[string]bool // agents that speak only the protocol of the original
	heard []string
}

func (a *agents) Ask(ctx context.Context, addr, line string) (string, error) {
	r, err := wire.ParseRequest(line)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	a.heard = append(a.heard, line)
	hang, down, plain := a.hang[r.Host], a.down[r.Host], a.plain[r.Host]
	a.mu.Unlock()
	if hang {
		<-ctx.Done()
		return "", ctx.Err()
	}
	if down {
		return "", errors.New("connection refused")
	}
	ans := wire.Answer{Text: "OK: Done", Uptime: 100}
	switch r.Command {
	case wire.SetStatus:
		if plain {
			break
		}
		o, err := wire.ParseOrder(r)
		if err != nil {
			return "", err
		}
		writable := wire.No
		for _, role := range o.Roles {
			if role.Role == "writer" {
				writable = wire.Yes
			}
		}
		ans.Fields = wire.Report{Extended: true, Seq: o.Seq, Have: o.Roles, Writable: writable}.Fields()
	case wire.GetAgentStatus:
		ans.Fields = wire.AgentStatus{State: cluster.Unknown}.Fields()
	case wire.GetSystemStatus:
		ans.Fields = wire.SystemStatus{}.Fields()
	}
	return ans.String(), nil
}

func (a *agents) set(m map[string]bool, host string, v bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m[host] = v
}

// good is a check that is always well.
type good struct{}

func (good) Probe(context.Context) check.Result { return check.Result{Status: check.OK, Message: "OK"} }
func (good) Close()                             {}

// goodChecks are the checks of hosts that are well.
func goodChecks(t cluster.Topology, emit func(check.Update)) []Task {
	var tasks []Task
	for _, h := range t.Hosts {
		for _, n := range check.Known().Names() {
			tasks = append(tasks, &check.Runner{Host: h.Name, Name: n, Probe: good{}, Period: time.Second,
				Timeout: time.Second, Trap: 2 * time.Second, Emit: emit})
		}
	}
	return tasks
}

// upAlways is a network that is up whenever it is checked.
type upAlways struct {
	doubt <-chan struct{}
	emit  func(bool)
}

func (n upAlways) Run(ctx context.Context) error {
	for {
		n.emit(true)
		select {
		case <-n.doubt:
		case <-ctx.Done():
			return nil
		}
	}
}

func topology() cluster.Topology {
	t := cluster.Topology{ActiveMasterRole: "writer", AutoSetOnline: time.Second, FlapDuration: time.Hour, FlapCount: 3,
		ReleaseTimeout: 15 * time.Second, SwitchTimeout: 10 * time.Second, NetworkGrace: 15 * time.Second}
	for i, peer := range []string{"db2", "db1", ""} {
		t.Hosts = append(t.Hosts, cluster.Host{Name: fmt.Sprintf("db%d", i+1),
			IP: netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i+1)), Master: i < 2, Peer: peer})
	}
	t.Roles = []cluster.Role{{Name: "writer", Exclusive: true, Hosts: []string{"db1", "db2"},
		IPs: []netip.Addr{netip.MustParseAddr("10.0.0.100")}}}
	return t
}

// run gives f a monitor of three healthy hosts, in virtual time, after all are ONLINE.
func run(t *testing.T, f func(m *Monitor, a *agents)) {
	status := filepath.Join(t.TempDir(), "status")
	synctest.Test(t, func(t *testing.T) {
		a := &agents{hang: map[string]bool{}, down: map[string]bool{}}
		top := topology()
		m := New(Config{Topology: top, Mode: cluster.Active, StatusPath: status, Store: store.NewFile(status, durable.Disk{}),
			KillBin:    "/nonexistent/kill_host",
			Agents:     a,
			AgentPorts: map[string]int{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Checks: Checks{
				Registry: check.Known(),
				Network:  func(doubt <-chan struct{}, emit func(bool)) Task { return upAlways{doubt, emit} },
				Hosts:    func(emit func(check.Update)) []Task { return goodChecks(top, emit) },
			}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		f(m, a)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestControl(t *testing.T) {
	run(t, func(m *Monitor, _ *agents) {
		say := func(line string) string { return m.Handle(context.Background(), line) }
		for line, want := range map[string]string{
			"ping":              "OK: Pinged successfully!",
			"ping ":             "OK: Pinged successfully!",
			" ping":             cluster.Invalid(" ping"),
			"ping\r":            cluster.Invalid("ping\r"),
			"":                  cluster.Invalid(""),
			"PING":              cluster.Invalid("PING"),
			"mode":              "ACTIVE",
			"help":              cluster.Help,
			"set_online  db1":   "OK: This host is already ONLINE. Skipping command.",
			"checks db1 ping x": cluster.Invalid("checks db1 ping x"),
			"history 0":         "ERROR: '0' is no number of records!",
			"history x":         "ERROR: 'x' is no number of records!",
			"history 1 2":       cluster.Invalid("history 1 2"),
			"explain":           cluster.Invalid("explain"),
			"explain x":         "ERROR: Unknown host name 'x'!",
			"watch":             cluster.Invalid("watch"),
			"checks x y":        "ERROR: Unknown check 'y'!",
			"checks x":          "ERROR: Unknown host name 'x'!",
			"show": "# Warning: writer_lease is 0: a writer that can't be reached may stay writer beside a new one\n  db1(10.0.0.1) master/ONLINE. Roles: writer(10.0.0.100)\n" +
				"  db2(10.0.0.2) master/ONLINE. Roles: \n  db3(10.0.0.3) slave/ONLINE. Roles: \n",
		} {
			if got := say(line); got != want {
				t.Errorf("%q: %q, want %q", line, got, want)
			}
		}
		if got := say("move_role writer db2"); got != "OK: Role 'writer' has been moved from 'db1' to 'db2'. Now you can wait some time and check new roles info!" {
			t.Error(got)
		}
		if got := say("checks db2 mysql"); !strings.HasPrefix(got, "db2  mysql  [last change: ") ||
			!strings.HasSuffix(got, "]  OK") {
			t.Errorf("checks db2 mysql: %q", got)
		}
		lines := strings.Split(say("checks"), "\n")
		if len(lines) != 13 || !strings.HasPrefix(lines[3], "db1  rep_backlog  [last change: ") || lines[12] != "" {
			t.Errorf("checks: %q", lines)
		}
		var view cluster.View
		if err := json.Unmarshal([]byte(say("show --json")), &view); err != nil || len(view.Hosts) != 3 {
			t.Errorf("show --json: %v", err)
		}
		for _, line := range []string{"checks --json", "mode --json", "history --json", "explain db1 --json"} {
			if !json.Valid([]byte(say(line))) {
				t.Errorf("%s: %s", line, say(line))
			}
		}
	})
}

// TestHungAgent: the monitor notices an agent that says nothing, and nothing else waits for that agent.
func TestHungAgent(t *testing.T) {
	run(t, func(m *Monitor, a *agents) {
		a.set(a.hang, "db3", true)
		began := time.Now()
		if got := m.Handle(context.Background(), "move_role writer db2"); !strings.HasPrefix(got,
			"OK: Role 'writer' has been moved") {
			t.Error(got)
		}
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("the move took %v", d)
		}
		time.Sleep(5 * time.Second)
		if got := m.Handle(context.Background(), "show"); !strings.HasPrefix(got,
			"# Warning: agent on host db3 is not reachable\n") {
			t.Error(got)
		}
		if got := m.Handle(context.Background(),
			"set_offline db3"); got != "ERROR: Can't reach agent daemon on 'db3'! Can't switch its state!" {
			t.Error(got)
		}
		a.set(a.hang, "db3", false)
		time.Sleep(5 * time.Second)
		if got := m.Handle(context.Background(), "show"); strings.Contains(got, "not reachable") {
			t.Error(got)
		}
	})
}

// TestPassiveSendsNothing: no order leaves while the monitor is passive. When passive mode ends, original agents are
// told to clear bad roles. Our agents are not told: their orders do that, and an agent of ours that was restarted since
// its newest order would take all roles that it has for bad ones.
func TestPassiveSendsNothing(t *testing.T) {
	run(t, func(m *Monitor, a *agents) {
		a.mu.Lock()
		a.plain = map[string]bool{"db3": true}
		a.mu.Unlock()
		m.Handle(context.Background(), "set_passive")
		time.Sleep(2 * time.Second)
		a.mu.Lock()
		a.heard = nil
		a.mu.Unlock()
		time.Sleep(time.Minute)
		a.mu.Lock()
		if len(a.heard) > 0 {
			t.Errorf("sent in passive mode: %v", a.heard)
		}
		a.mu.Unlock()
		m.Handle(context.Background(), "set_active")
		time.Sleep(2 * time.Second)
		a.mu.Lock()
		defer a.mu.Unlock()
		all := strings.Join(a.heard, "\n")
		if strings.Count(all, "CLEAR_BAD_ROLES") != 1 || !strings.Contains(all, "CLEAR_BAD_ROLES|1|db3") {
			t.Errorf("not db3 alone was told to clear: %v", a.heard)
		}
	})
}

func TestKillHost(t *testing.T) {
	dir := t.TempDir()
	program := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "missing"), "no kill_host program"},
		{program("plain", "#!/bin/sh\n", 0o644), "is not an executable program"},
		{program("fails", "#!/bin/sh\necho no power switch; exit 3\n", 0o755), "exit status 3 no power switch"},
		{program("works", "#!/bin/sh\n[ \"$1 $2\" = 'db1 1' ]\n", 0o755), ""},
	} {
		r := killHost(t.Context(), c.path, cluster.Kill{Host: "db1", PingGood: true})
		if r.Host != "db1" || !strings.Contains(r.Err, c.want) || (c.want == "") != (r.Err == "") {
			t.Errorf("%s: %+v, want %q", c.path, r, c.want)
		}
	}
	if r := killHost(t.Context(), filepath.Join(dir, "works"), cluster.Kill{Host: "db1"}); r.Err == "" {
		t.Error("a lost ping is not told to kill_host")
	}
}
