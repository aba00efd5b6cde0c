package agent

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/lease"
)

// still is a clock that stands still.
type still time.Duration

func (c still) Boot() string          { return "boot" }
func (c still) Now() time.Duration    { return time.Duration(c) }
func (c still) Jumped() time.Duration { return 0 }

// told is the owner of a host that was the writer with the lease had (0: it never had one), and was told to leave at
// the time later after that lease began.
func told(had, later time.Duration) *owner {
	const began = time.Hour
	held := lease.New("db1", "boot", nil, lease.Saved{}, 0, 0)
	epoch := cluster.Epoch{Number: 5, Holder: "db1", Since: 5}
	if had > 0 {
		held.Order(began, epoch, cluster.Lease(had), cluster.Stamp{Boot: "boot", At: began}, false)
	}
	epoch.Number, epoch.Leaving = 6, true
	now := began + later
	held.Order(now, epoch, cluster.Lease(time.Minute), cluster.Stamp{Boot: "boot", At: now}, false)
	return &owner{order: &cluster.Order{Lease: cluster.Lease(time.Minute)},
		holder: &leaseHolder{lease: held, leasing: Leasing{Clock: still(now)}}}
}

// restarted is told's owner after a restart of the agent: it knows the epoch, and has had no order yet.
func restarted(had, later time.Duration) *owner {
	o := told(had, later)
	o.order = nil
	return o
}

// TestDenyInTime: a server that is closed for writes leaves a statement that writes alone for max_kill_retries, but not
// beyond the end of the lease, and not at all where the lease is over or the port is closed.
func TestDenyInTime(t *testing.T) {
	const six = 6 * time.Second
	for name, c := range map[string]struct {
		configured time.Duration
		owner      *owner
		port       Port
		runs       time.Duration
		want       time.Duration
		did        string
	}{
		"without a lease":          {10 * time.Second, &owner{}, PortOpen, time.Hour, 10 * time.Second, "kill, deny"},
		"it ends by itself":        {10 * time.Second, &owner{}, PortOpen, 3 * time.Second, 3 * time.Second, "deny"},
		"max_kill_retries 0":       {0, &owner{}, PortOpen, time.Hour, 0, "kill, deny"},
		"a lease that is longer":   {3 * time.Second, told(six, 0), PortOpen, time.Hour, 3 * time.Second, "kill, deny"},
		"a lease that ends before": {10 * time.Second, told(six, 0), PortOpen, time.Hour, six, "kill, deny"},
		"the lease is over": {10 * time.Second, told(six, six+time.Second), PortOpen, time.Hour, 0,
			"kill, deny"},
		"part of it is over": {10 * time.Second, told(six, 2*time.Second), PortOpen, time.Hour, 4 * time.Second,
			"kill, deny"},
		"without an order since the start": {10 * time.Second, restarted(six, 2*time.Second), PortOpen, time.Hour,
			4 * time.Second, "kill, deny"},
		"over, without an order since the start": {10 * time.Second, restarted(six, six+time.Second), PortOpen, time.Hour,
			0, "kill, deny"},
		"it never had one":   {10 * time.Second, told(0, 0), PortOpen, time.Hour, 0, "kill, deny"},
		"the port is closed": {10 * time.Second, &owner{}, PortClosed, time.Hour, 0, "kill, deny"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{open: true, present: []netip.Addr{writer.IP}, writes: time.Now().Add(c.runs)}
				h := &host{site: site(), publisher: vips(s), announce: s, gate: s,
					log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
					blocking: Blocking{Grace: c.configured}}
				began := time.Now()
				_, problems := h.apply(t.Context(), pass{left: c.owner.left()}, []Action{{Kind: Deny}}, false,
					Memory{Port: c.port})
				if took := time.Since(began); len(problems) > 0 || s.open || took != c.want || s.history() != c.did {
					t.Errorf("open %v after %v, want %v; it did %q, want %q; problems %v", s.open, took, c.want,
						s.history(), c.did, problems)
				}
			})
		})
	}
}
