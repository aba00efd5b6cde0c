package monitor

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/store"
)

// The checks of the registry and the checks that can be configured are the same, and each has a probe.
func TestEveryCheckIsConfigured(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mmm.conf")
	text := `active_master_role writer
<host default>
 replication_user r
 monitor_user m
 monitor_password m
</host>
<host db1>
 ip 192.0.2.1
 mode slave
</host>
<role writer>
 hosts db1
 ips 192.0.2.9
 mode exclusive
</role>
<monitor>
 ip 127.0.0.1
 pid_path /run/x
 bin_path /usr/bin
 status_path /run/y
 ping_ips 192.0.2.8
</monitor>
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Monitor, config.Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	registry := NewChecks(c, Direct(nil)).Registry
	if len(registry) != len(c.Checks) {
		t.Errorf("checks %v, configured %v", registry.Names(), c.Checks)
	}
	for _, s := range registry {
		k, known := c.Checks[string(s.Name)]
		if !known || s.Period != k.Period || s.Timeout != k.Timeout || s.Trap != k.Trap || s.Period == 0 {
			t.Errorf("%s: %+v, configured %+v", s.Name, s, k)
		}
		if s.New == nil {
			t.Errorf("nobody says how the probe of %s is made", s.Name)
			continue
		}
		s.New("db1").Close()
	}
}

// said is a probe that fails while bad is true.
type said struct{ bad *atomic.Bool }

func (s said) Probe(context.Context) check.Result {
	if s.bad != nil && s.bad.Load() {
		return check.Result{Status: check.Error, Message: "ERROR: bad"}
	}
	return check.Result{Message: "OK"}
}

func (said) Close() {}

// A check that is added to the registry runs on every host, is shown, is kept in the history, and has its effect on the
// state. An advisory check has no effect on the state.
func TestAddedCheck(t *testing.T) {
	status := filepath.Join(t.TempDir(), "status")
	synctest.Test(t, func(t *testing.T) {
		var late, odd atomic.Bool
		known := append(check.Known(), check.Spec{Name: "queue_length", Effect: check.ReplicationLate},
			check.Spec{Name: "disk", Effect: check.Advisory})
		hosts := []string{"db1", "db2", "db3"}
		c := &config.Config{Checks: config.Checks{}}
		for _, name := range hosts {
			c.Hosts = append(c.Hosts, config.Host{Name: name})
		}
		probes := map[check.Name]prober{}
		for _, name := range known.Names() {
			c.Checks[string(name)] = config.Check{Period: time.Second, Timeout: time.Second}
			probes[name] = func(h config.Host, _ time.Duration) check.Probe {
				if h.Name != "db3" {
					return said{}
				}
				return said{map[check.Name]*atomic.Bool{"queue_length": &late, "disk": &odd}[name]}
			}
		}
		registry := newRegistry(known, c, probes)
		top := topology()
		m := New(Config{Topology: top, Mode: cluster.Active, StatusPath: status, Store: store.NewFile(status, durable.Disk{}),
			KillBin: "/nonexistent/kill_host",
			Agents:  &agents{hang: map[string]bool{}, down: map[string]bool{}}, AgentPorts: map[string]int{},
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Checks: Checks{Registry: registry,
				Network: func(doubt <-chan struct{}, emit func(bool)) Task { return upAlways{doubt, emit} },
				Hosts:   runners(registry, hosts),
			}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		say := func(line string) string {
			time.Sleep(5 * time.Second)
			synctest.Wait()
			return m.Handle(ctx, line)
		}
		expect := func(line, text string) {
			t.Helper()
			if got := say(line); !strings.Contains(got, text) {
				t.Errorf("%s lacks %q:\n%s", line, text, got)
			}
		}
		expect("show", "db3(10.0.0.3) slave/ONLINE")
		expect("checks all all", "db3  queue_length  [last change: ")
		odd.Store(true)
		expect("show", "db3(10.0.0.3) slave/ONLINE")
		expect("checks db3 disk", "ERROR: bad")
		expect("history", "Check 'disk' on 'db3' fails: ERROR: bad")
		time.Sleep(time.Minute) // so that hosts are judged by replication again: not in the first minute of a writer
		late.Store(true)
		expect("show", "db3(10.0.0.3) slave/REPLICATION_DELAY")
		expect("show", "db1(10.0.0.1) master/ONLINE")
		late.Store(false)
		expect("show", "db3(10.0.0.3) slave/ONLINE")
		expect("checks db3 bogus", "ERROR: Unknown check 'bogus'!")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
