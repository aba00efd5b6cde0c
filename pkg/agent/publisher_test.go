package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// directory is a Publisher that uses no interface: a list in which clients look up where a role is.
type directory struct {
	mu   sync.Mutex
	list map[netip.Addr]time.Duration // addresses with their lifetimes as last told; 0: for ever
	did  []string
	fail error // what withdrawals return
}

func (d *directory) List(context.Context) ([]netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []netip.Addr
	for ip := range d.list {
		all = append(all, ip)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all, nil
}

func (d *directory) Publish(_ context.Context, r cluster.RoleIP, left endpoint.Lifetime) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	lifetime, err := left()
	if err != nil {
		return err
	}
	d.list[r.IP] = lifetime
	d.did = append(d.did, fmt.Sprintf("publish %s for %s", r, lifetime))
	return nil
}

func (d *directory) Renew(_ context.Context, r cluster.RoleIP, left endpoint.Lifetime) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.list[r.IP]; there {
		lifetime, err := left()
		if err != nil {
			return err
		}
		d.list[r.IP] = lifetime
	}
	return nil
}

func (d *directory) Withdraw(_ context.Context, r cluster.RoleIP) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	delete(d.list, r.IP)
	d.did = append(d.did, fmt.Sprintf("withdraw %s", r))
	return nil
}

func (d *directory) history() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := strings.Join(d.did, ", ")
	d.did = nil
	return text
}

// TestAnotherPublisher: an agent works with whatever Publisher it is given: it publishes and withdraws in step with
// opening and closing its server, and its answers name what is published, not what was ordered.
func TestAnotherPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{fail: map[string]error{}, block: map[string]chan struct{}{}, position: at(500),
			replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "Yes", SQLRunning: "Yes", Received: at(100),
				Executed: at(100)}}
		d := &directory{list: map[netip.Addr]time.Duration{}}
		st := site()
		st.Host, st.MayWrite = "db2", true
		a := New(Config{Site: st, Endpoints: d, Watch: s, Announce: s, Gate: s, Local: s, Locks: s, Peers: s,
			Replication: s.replicating(st),
			Uptime:      func() (float64, error) { return 77.5, nil }, Version: "1.0",
			Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		report := func(roles ...cluster.RoleIP) wire.Report {
			t.Helper()
			answer, err := wire.ParseAnswer(a.Handle(ctx, wire.OrderRequest("db2", order(roles...)).String()))
			if err != nil {
				t.Fatal(err)
			}
			return wire.ParseReport(answer)
		}
		r := report(reader1, writer)
		if got, want := d.history(), "publish reader(10.0.0.101) for 0s, publish writer(10.0.0.100) for 0s"; got != want ||
			len(r.Have) != 2 || r.Writable != wire.Yes {
			t.Errorf("it did %s, want %s; report %+v", got, want, r)
		}
		d.mu.Lock()
		d.fail = errors.New("no route to the directory")
		d.mu.Unlock()
		if r = report(); len(r.Have) != 2 || len(r.Problems) == 0 || r.Writable != wire.No {
			t.Errorf("nothing could be withdrawn: %+v", r)
		}
		d.mu.Lock()
		d.fail = nil
		d.mu.Unlock()
		time.Sleep(2 * mendPeriod)
		if r = report(); len(r.Have) != 0 || len(r.Problems) != 0 {
			t.Errorf("all is withdrawn: %+v", r)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(s.present) != 0 || strings.Contains(s.history(), "add") {
			t.Errorf("it used an interface: %s", s.history())
		}
	})
}
