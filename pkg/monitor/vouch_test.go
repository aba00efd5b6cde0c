package monitor

import (
	"context"
	"errors"
	"io"
	"log/slog"
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

// leasedAgents answer as agents with leases do: with the epoch and the lease that they know, and a stamp of their
// clock. A host that is dark is switched off.
type leasedAgents struct {
	mu    sync.Mutex
	began time.Time
	dark  map[string]bool
	epoch map[string]cluster.Epoch
	until map[string]time.Duration // end of each host's lease, on the clock that all agents share
}

func (a *leasedAgents) now() time.Duration { return time.Hour + time.Since(a.began) }

// Ask answers for the agent of the host that is named in line.
func (a *leasedAgents) Ask(ctx context.Context, _, line string) (string, error) {
	r, err := wire.ParseRequest(line)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dark[r.Host] {
		a.mu.Unlock()
		defer a.mu.Lock()
		select { // as long as the monitor's dialer tries
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		return "", errors.New("i/o timeout")
	}
	ans := wire.Answer{Text: "OK: Done", Uptime: 1e5}
	stamp := cluster.Stamp{Boot: "boot", At: a.now()}
	switch r.Command {
	case wire.SetStatus:
		o, err := wire.ParseOrder(r)
		if err != nil {
			return "", err
		}
		report := wire.Report{Extended: true, Seq: o.Seq, Writable: wire.No, Candidates: "db1,db2", Stamp: stamp}
		if o.Epoch.Number >= a.epoch[r.Host].Number {
			a.epoch[r.Host] = o.Epoch
			if !o.Epoch.Grants(r.Host) {
				a.until[r.Host] = 0
			} else if o.Echo.Boot != "" {
				a.until[r.Host] = max(a.until[r.Host], o.Echo.At+time.Duration(o.Epoch.Terms.Lease))
			}
		}
		report.Epoch = a.epoch[r.Host]
		if a.until[r.Host] > a.now() {
			report.Have, report.Writable, report.Live = o.Roles, wire.Yes, true
		}
		ans.Fields = report.Fields()
	case wire.GetAgentStatus:
		ans.Fields = wire.AgentStatus{State: cluster.Online, Epoch: a.epoch[r.Host], Stamp: stamp,
			Live: a.until[r.Host] > a.now()}.Fields()
	case wire.GetSystemStatus:
		ans.Fields = wire.SystemStatus{}.Fields()
	}
	return ans.String(), nil
}

// left is how much of its lease a host has.
func (a *leasedAgents) left(host string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.until[host] - a.now()
}

func (a *leasedAgents) switchOff(host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dark[host] = true
}

// probing is a check of a host that may be off.
type probing struct {
	a    *leasedAgents
	host string
}

func (p probing) Probe(ctx context.Context) check.Result {
	p.a.mu.Lock()
	dark := p.a.dark[p.host]
	p.a.mu.Unlock()
	if dark {
		<-ctx.Done()
		return check.Result{Status: check.Error, Message: "timeout"}
	}
	return check.Result{Status: check.OK, Message: "OK"}
}

func (probing) Close() {}

// pingIPs are addresses in ping_ips. They answer until fail is closed. While hang is in use nothing is known of them.
type pingIPs struct{ fail, hang chan struct{} }

func (p pingIPs) task(doubt <-chan struct{}, emit func(bool)) Task {
	return upUntil{doubt, emit, p.fail, p.hang}
}

type upUntil struct {
	doubt      <-chan struct{}
	emit       func(bool)
	fail, hang chan struct{}
}

func (u upUntil) Run(ctx context.Context) error {
	for up := true; ; {
		u.emit(up)
		select {
		case <-u.doubt:
		case <-u.fail:
			up, u.fail = false, nil
		case <-u.hang:
			<-u.hang
		case <-ctx.Done():
			return nil
		}
	}
}

// underLease runs f with a monitor whose writer db1 has a lease of three seconds. The checks have the usual period,
// timeout and trap period. start starts another monitor with the same status file.
func underLease(t *testing.T, f func(a *leasedAgents, p pingIPs, m *Monitor, stop func(),
	start func() (*Monitor, func()))) {
	status := filepath.Join(t.TempDir(), "status")
	synctest.Test(t, func(t *testing.T) {
		a := &leasedAgents{began: time.Now(), dark: map[string]bool{}, epoch: map[string]cluster.Epoch{},
			until: map[string]time.Duration{}}
		p := pingIPs{fail: make(chan struct{}), hang: make(chan struct{})}
		start := func() (*Monitor, func()) {
			top := topology()
			top.Lease = cluster.Lease(3 * time.Second)
			m := New(Config{Topology: top, Mode: cluster.Active, StatusPath: status,
				Store:      store.NewFile(status, durable.Disk{}),
				KillBin:    "/nonexistent/kill_host",
				Agents:     a,
				AgentPorts: map[string]int{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
				Checks: Checks{
					Registry: check.Known(),
					Network:  p.task,
					Hosts: func(emit func(check.Update)) []Task {
						var tasks []Task
						for _, h := range top.Hosts {
							for _, n := range check.Known().Names() {
								tasks = append(tasks, &check.Runner{Host: h.Name, Name: n, Probe: probing{a, h.Name},
									Period: 5 * time.Second, Timeout: 2 * time.Second, Trap: 10 * time.Second,
									Emit: emit})
							}
						}
						return tasks
					},
				}})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- m.Run(ctx) }()
			return m, func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
		m, stop := start()
		time.Sleep(30 * time.Second)
		if a.left("db1") <= 0 {
			t.Fatal("db1 has no lease: " + m.Handle(context.Background(), "show"))
		}
		f(a, p, m, stop, start)
	})
}

// alwaysLive fails the test if the lease of db1 ends within d.
func alwaysLive(t *testing.T, a *leasedAgents, d time.Duration, what string) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if left := a.left("db1"); left <= 0 {
			t.Errorf("%s: db1 has lost its lease", what)
			return
		}
	}
}

// TestNetworkDown: the monitor vouches for a writer that it reaches, also while no address in ping_ips answers.
func TestNetworkDown(t *testing.T) {
	underLease(t, func(a *leasedAgents, p pingIPs, m *Monitor, stop func(), _ func() (*Monitor, func())) {
		a.switchOff("db2")
		close(p.fail)
		alwaysLive(t, a, time.Minute, "ping_ips don't answer")
		stop()
	})
}

// TestMonitorCutOff: no host is condemned before the monitor has seen its own network after the host went silent,
// however long that takes.
func TestMonitorCutOff(t *testing.T) {
	underLease(t, func(a *leasedAgents, p pingIPs, m *Monitor, stop func(), _ func() (*Monitor, func())) {
		p.hang <- struct{}{} // the addresses are being pinged
		for _, host := range []string{"db1", "db2", "db3"} {
			a.switchOff(host)
		}
		time.Sleep(2 * time.Minute)
		if show := m.Handle(context.Background(), "show"); strings.Contains(show, "OFFLINE") {
			t.Errorf("nothing is known of the network, and\n%s", show)
		}
		p.hang <- struct{}{} // one has answered
		time.Sleep(20 * time.Second)
		if show := m.Handle(context.Background(), "show"); strings.Count(show, "HARD_OFFLINE") != 3 {
			t.Errorf("the network is there, and\n%s", show)
		}
		stop()
	})
}

// TestPassive: the monitor vouches for the writer also in passive mode.
func TestPassive(t *testing.T) {
	underLease(t, func(a *leasedAgents, _ pingIPs, m *Monitor, stop func(), _ func() (*Monitor, func())) {
		a.switchOff("db2")
		if answer := m.Handle(context.Background(), "set_passive"); !strings.HasPrefix(answer, "OK") {
			t.Fatal(answer)
		}
		alwaysLive(t, a, time.Minute, "passive")
		if answer := m.Handle(context.Background(), "set_active"); !strings.HasPrefix(answer, "OK") {
			t.Fatal(answer)
		}
		alwaysLive(t, a, time.Minute, "active again")
		stop()
	})
}

// TestMonitorStartsWhilePeerIsOff: a monitor that starts vouches for the writer of its saved decision before it has
// checked anything, because checks of a host that is off take longer than a lease.
func TestMonitorStartsWhilePeerIsOff(t *testing.T) {
	underLease(t, func(a *leasedAgents, _ pingIPs, m *Monitor, stop func(), start func() (*Monitor, func())) {
		a.switchOff("db2")
		time.Sleep(time.Minute)
		stop()
		_, stop = start()
		alwaysLive(t, a, time.Minute, "the monitor was restarted")
		stop()
	})
}

// TestLapsedWriterIsNotRevivedAtOnce: the status file of a monitor that starts may hold an older decision than the
// newest one. So a lease that has lapsed is revived only when no other host can be the writer any more.
func TestLapsedWriterIsNotRevivedAtOnce(t *testing.T) {
	underLease(t, func(a *leasedAgents, _ pingIPs, _ *Monitor, stop func(), start func() (*Monitor, func())) {
		a.switchOff("db2")
		time.Sleep(time.Minute)
		stop()
		time.Sleep(10 * time.Second)
		m, stop := start()
		longest := cluster.Lease(3 * time.Second).Over()
		began := time.Now()
		for a.left("db1") <= 0 && time.Since(began) < 30*time.Second {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(began); took < longest || took > longest+5*time.Second {
			t.Errorf("it has the role again after %v, want %v\n%s", took, longest,
				m.Handle(context.Background(), "show"))
		}
		alwaysLive(t, a, 10*time.Second, "revived")
		stop()
	})
}
