package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// fakeFence is a firewall in memory.
type fakeFence struct {
	closed bool
	fail   error
	did    []string
}

func (f *fakeFence) Close(context.Context) error {
	if f.fail == nil {
		f.closed = true
		f.did = append(f.did, "close")
	}
	return f.fail
}
func (f *fakeFence) Open(context.Context) error {
	if f.fail == nil {
		f.closed = false
		f.did = append(f.did, "open")
	}
	return f.fail
}
func (f *fakeFence) Closed(context.Context) (bool, error) { return f.closed, f.fail }

func TestWantPort(t *testing.T) {
	const hangs, no, yes = wire.Unsure, wire.No, wire.Yes
	for name, c := range map[string]struct {
		slave    bool // may not be the writer
		writer   bool
		writable wire.Tri
		down     bool
		closed   bool // the server was closed for writes when it last answered
		same     bool // its process is still the one that answered
		stalled  bool // the server answers, and does not write
		refused  bool // the server answers, and does not let the agent in
		late     bool // the lease is over, and closing the server takes too long
		port     Port
		want     Port
	}{
		"never heard since the start":              {writable: hangs, want: PortClosed},
		"never heard, though the process is known": {writable: hangs, same: true, want: PortClosed},
		"was open": {writable: hangs, same: true, want: PortClosed},
		"was closed, and may have been started since": {writable: hangs, closed: true, want: PortClosed},
		"was closed, and is the same process": {writable: hangs, closed: true, same: true,
			want: PortUnknown},
		"the writer hangs":  {writable: hangs, writer: true, want: PortUnknown},
		"closed for writes": {writable: no, closed: true, want: PortOpen},
		"does not run": {writable: no, down: true, closed: true,
			want: PortUnknown},
		// the server is closed for writes, and its port stays
		"open for writes and not the writer": {writable: yes, want: PortUnknown},
		"refuses the agent, never heard":     {writable: hangs, refused: true, want: PortClosed},
		"refuses the agent, was open": {writable: hangs, same: true, refused: true,
			want: PortClosed},
		"refuses the agent, was closed, and is the same": {writable: hangs, closed: true, same: true,
			refused: true, want: PortUnknown},
		"refuses the agent, was closed, may have been started": {writable: hangs, closed: true, refused: true,
			want: PortClosed},
		"refuses the agent, is known to be closed": {writable: no, closed: true, refused: true,
			want: PortOpen},
		"refuses the agent, is known to be open": {writable: yes, refused: true, want: PortClosed},
		"the writer refuses the agent": {writable: hangs, writer: true, refused: true,
			want: PortUnknown},
		"the writer refuses the agent, is known to be open": {writable: yes, writer: true, refused: true,
			want: PortOpen},
		"a slave refuses the agent": {slave: true, writable: hangs, refused: true,
			want: PortOpen},
		"answers again, could not be closed":    {writable: yes, port: PortClosed, want: PortClosed},
		"open, not the writer, and can't write": {writable: yes, stalled: true, want: PortClosed},
		"open, and the lease is over":           {writable: yes, late: true, want: PortClosed},
		"the writer can't write": {writable: yes, stalled: true, writer: true,
			want: PortOpen},
		"closed, and can't write": {writable: no, stalled: true, want: PortOpen},
		"the writer at work":      {writable: yes, writer: true, want: PortOpen},
		// the port is opened with the server (apply)
		"the writer is yet closed":  {writable: no, writer: true, want: PortUnknown},
		"a slave that takes writes": {slave: true, writable: yes, want: PortOpen},
		"a slave that hangs":        {slave: true, writable: hangs, want: PortOpen},
		"a slave that does not run": {slave: true, writable: no, down: true, want: PortOpen},
	} {
		t.Run(name, func(t *testing.T) {
			s := site()
			s.MayWrite = !c.slave
			facts := Facts{Writable: c.writable, Down: c.down, Stalled: c.stalled, Refused: c.refused, Late: c.late}
			got := wantPort(s, c.writer, facts, Memory{Closed: c.closed, Port: c.port}, c.same)
			if got != c.want {
				t.Errorf("it is to be %d, want %d", got, c.want)
			}
		})
	}
}

// oneProcess is the process of a server; same says whether it is still the one that answered last.
type oneProcess struct{ same bool }

func (oneProcess) Answered(context.Context) {}
func (oneProcess) Gone() bool               { return false }
func (p *oneProcess) Same() bool            { return p.same }

// TestMissedQuestion: the port of a candidate that was read-only a second ago stays open where its server misses a
// question, so that readers keep their connections. It is closed where the server was open, where this agent has begun
// to open it since, and where it may have been started anew.
func TestMissedQuestion(t *testing.T) {
	hangs := errors.New("no answer")
	for name, c := range map[string]struct {
		before   func(s *sim, p *oneProcess, round func(...cluster.RoleIP) outcome)
		closed   bool // the port
		writable wire.Tri
	}{
		"read-only before": {func(_ *sim, _ *oneProcess, round func(...cluster.RoleIP) outcome) { round() }, false,
			wire.No},
		"read-only before, started since": {func(_ *sim, p *oneProcess, round func(...cluster.RoleIP) outcome) {
			round()
			p.same = false
		}, true, wire.No},
		"not heard yet": {func(*sim, *oneProcess, func(...cluster.RoleIP) outcome) {}, true, wire.No},
		"open before, could not be closed": {func(s *sim, _ *oneProcess, round func(...cluster.RoleIP) outcome) {
			s.open, s.fail["deny"] = true, hangs
			round()
		}, true, wire.No},
		"may have been opened": {func(s *sim, _ *oneProcess, round func(...cluster.RoleIP) outcome) {
			round()
			s.fail["allow"] = hangs
			round(writer)
			s.fail["writable"] = hangs
			round(writer)
		}, true, wire.No},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{fail: map[string]error{}, replica: caughtUp()}
				f, p := &fakeFence{}, &oneProcess{same: true}
				h := hostOf(s)
				h.fence, h.process = f, p
				m := Memory{}
				round := func(roles ...cluster.RoleIP) outcome {
					out := h.pass(t.Context(), pass{order: order(roles...), candidate: true, memory: m,
						lifetime: forEver, left: endless})
					m = out.memory
					return out
				}
				c.before(s, p, round)
				f.did = nil
				s.fail["writable"] = hangs
				var out outcome
				for range 3 {
					out = round()
				}
				if f.closed != c.closed || out.facts.Writable != c.writable {
					t.Errorf("the port is closed: %v, the server is said to take writes: %v", f.closed,
						out.facts.Writable)
				}
				if n := strings.Count(strings.Join(f.did, " "), "close"); n > 1 {
					t.Errorf("it was closed %d times", n)
				}
				// The server answers again, read-only: its port is opened.
				s.fail = map[string]error{}
				if out = round(); f.closed || out.facts.Writable != wire.No {
					t.Errorf("the port is closed: %v, the server takes writes: %v, when it answers again", f.closed,
						out.facts.Writable)
				}
			})
		})
	}
}

// TestRefusedAgent: the port of a healthy server that does not let its agent in stays open as long as the server is
// known to be closed for writes, from before or by way of another account. The port of a former writer that can't be
// closed for writes is closed.
func TestRefusedAgent(t *testing.T) {
	denied := fmt.Errorf("read variables: %w", &mysqlctl.ConnectError{Addr: "10.0.0.1:3306", User: "agent",
		Err: &mysql.MySQLError{Number: 1045, Message: "Access denied"}})
	lockOut := func(s *sim) {
		s.fail["writable"], s.fail["deny"], s.fail["allow"], s.fail["end clients"] = denied, denied, denied, denied
	}
	type world struct {
		s     *sim
		p     *oneProcess
		spare *sim
		round func(...cluster.RoleIP) outcome
	}
	for name, c := range map[string]struct {
		before   func(w world)
		roles    []cluster.RoleIP
		closed   bool // the port
		writable wire.Tri
	}{
		"standby": {before: func(w world) { w.round() }, writable: wire.No},
		"standby, a new process": {before: func(w world) { w.round(); w.p.same = false }, closed: true,
			writable: wire.No},
		"standby, agent started since": {before: func(world) {}, closed: true, writable: wire.No},
		"standby, another account is let in": {before: func(w world) { w.spare.fail["writable"] = nil },
			writable: wire.No},
		"open, another account is let in": {before: func(w world) {
			w.spare.fail["writable"], w.spare.open,
				w.s.open = nil, true, true
		}, closed: true, writable: wire.No},
		"writer at work": {before: func(w world) { w.round(writer) },
			roles: []cluster.RoleIP{writer}, writable: wire.Unsure},
		"writer that has to go": {before: func(w world) { w.round(writer) }, closed: true,
			writable: wire.No},
		"writer that has to go, another is let": {before: func(w world) {
			w.round(writer)
			w.spare.fail["writable"],
				w.spare.open = nil, true
		}, closed: true, writable: wire.No},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{fail: map[string]error{}, replica: caughtUp()}
				f, p, spare := &fakeFence{}, &oneProcess{same: true}, &sim{fail: map[string]error{"writable": denied}}
				h := hostOf(s)
				h.fence, h.process, h.spare = f, p, newSpare(spare)
				m := Memory{}
				round := func(roles ...cluster.RoleIP) outcome {
					out := h.pass(t.Context(), pass{order: order(roles...), candidate: true, memory: m,
						lifetime: forEver, left: endless})
					m = out.memory
					return out
				}
				c.before(world{s, p, spare, round})
				f.did = nil
				lockOut(s)
				var out outcome
				for range 3 {
					out = round(c.roles...)
				}
				if f.closed != c.closed || out.facts.Writable != c.writable || !out.facts.Refused {
					t.Errorf("the port is closed: %v, facts %+v", f.closed, out.facts)
				}
				if len(out.facts.Present) != len(c.roles) {
					t.Errorf("it has %v", out.facts.Present)
				}
				if said := strings.Join(texts(out.problems), "\n"); !strings.Contains(said,
					"the server answers, and does not let this agent open or close it: ") ||
					!strings.Contains(said, "1045") {
					t.Errorf("problems:\n%s", said)
				}
				if n := strings.Count(strings.Join(f.did, " "), "close"); n > 1 {
					t.Errorf("it was closed %d times", n)
				}
				// The account is mended: the server is closed for writes where it has to be, and its port is open.
				s.fail = map[string]error{}
				out = round(c.roles...)
				if want := wire.TriOf(len(c.roles) > 0); f.closed || out.facts.Writable != want || out.facts.Refused ||
					len(out.problems) > 0 {
					t.Errorf("when the account is mended: the port is closed: %v, %+v", f.closed, out)
				}
			})
		})
	}
}

// unclosing is a server that takes a while to be closed for writes, as its disk hangs.
type unclosing struct {
	*sim
	takes time.Duration
}

func (u *unclosing) DenyWrites(ctx context.Context, d mysqlctl.Deny) error {
	select {
	case <-time.After(u.takes):
		return u.sim.DenyWrites(ctx, d)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestClosingTakesTooLong: the port of a server that can't be closed for writes is closed half a second after the end
// of the lease, since another host may soon be the writer. It is opened again when the server is closed. Without a
// lease it stays open.
func TestClosingTakesTooLong(t *testing.T) {
	for name, c := range map[string]struct {
		left   time.Duration
		after  time.Duration // when the port is closed; 0: it is not
		takes  time.Duration // in all
		closes time.Duration // how long the server takes to close; 0: for ever
	}{
		"a lease that is over":      {0, lateSlack, denySlack, 0},
		"a second is left":          {time.Second, time.Second + lateSlack, denySlack, 0},
		"ten seconds are left":      {10 * time.Second, 0, denySlack, 0},
		"no leases":                 {lease.Forever, 0, denySlack, 0},
		"it is closed in the end":   {0, lateSlack, time.Second, time.Second},
		"it is closed soon enough":  {0, 0, lateSlack / 2, lateSlack / 2},
		"it is closed in its lease": {2 * time.Second, 0, time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, f := &unclosing{&sim{open: true, replica: caughtUp()}, cmp.Or(c.closes, time.Hour)}, &timedFence{}
				h := hostOf(s.sim)
				h.gate, h.fence = s, f
				began := time.Now()
				left := func() time.Duration {
					if c.left == lease.Forever {
						return c.left
					}
					return max(0, c.left-time.Since(began))
				}
				out := h.pass(t.Context(), pass{order: order(), candidate: true, lifetime: forEver, left: left})
				after := time.Duration(0)
				if !f.at.IsZero() {
					after = f.at.Sub(began)
				}
				stays := c.after > 0 && c.closes == 0
				if took := time.Since(began); after != c.after || took != c.takes || out.facts.Fenced != stays ||
					f.closed != stays {
					t.Errorf("the port is closed after %v, want %v; it took %v, want %v; closed %v, %+v", after, c.after, took,
						c.takes, f.closed, out.facts)
				}
				s.takes = 0
				out = h.pass(t.Context(), pass{order: order(), candidate: true, lifetime: forEver, left: left,
					memory: out.memory})
				if f.closed || out.facts.Writable != wire.No || out.facts.Fenced {
					t.Errorf("when the server is closed the port is closed: %v, %+v", f.closed, out.facts)
				}
			})
		})
	}
}

// timedFence notes when the port is closed first.
type timedFence struct {
	fakeFence
	at time.Time
}

func (f *timedFence) Close(ctx context.Context) error {
	if f.at.IsZero() {
		f.at = time.Now()
	}
	return f.fakeFence.Close(ctx)
}

// counted counts questions.
type counted struct {
	asked int
	err   error
}

func (c *counted) Writable(context.Context) (bool, error) { c.asked++; return false, c.err }

// TestSpareAccount: an account that is refused is left alone for a while, as its server may lock it. After another
// failure it is tried again at once.
func TestSpareAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{err: &mysqlctl.ConnectError{Err: &mysql.MySQLError{Number: 1045}}}
		s := newSpare(c)
		ask := func(times int) {
			for range times {
				if _, err := s.writable(t.Context()); (err == nil) != (c.err == nil) || err != nil &&
					mysqlctl.SignOf(err) != mysqlctl.SignOf(c.err) {
					t.Errorf("%v, want %v", err, c.err)
				}
			}
		}
		ask(5)
		time.Sleep(sparePause - time.Nanosecond)
		if ask(1); c.asked != 1 {
			t.Errorf("asked %d times within the pause", c.asked)
		}
		time.Sleep(time.Nanosecond)
		c.err = context.DeadlineExceeded
		if ask(3); c.asked != 4 {
			t.Errorf("asked %d times, want 4: a server that hangs has refused nothing", c.asked)
		}
		c.err = nil
		if ask(1); c.asked != 5 {
			t.Errorf("asked %d times, want 5", c.asked)
		}
	})
	if newSpare(nil) != nil {
		t.Error("nothing to ask is something")
	}
}

// TestPortLeftClosed: a port that an agent has left closed when it was killed is opened by the next agent, whatever its
// host is to be.
func TestPortLeftClosed(t *testing.T) {
	for name, c := range map[string]struct {
		slave, open, present bool
		order                cluster.Order
	}{
		"candidate that is read-only": {},
		"candidate that is open":      {open: true},
		"writer at work":              {open: true, present: true, order: order(writer)},
		"writer to be":                {order: order(writer)},
		"slave":                       {slave: true, open: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{open: c.open, replica: caughtUp()}
				if c.present {
					s.present = append(s.present, writer.IP)
				}
				h := hostOf(s)
				f := &fakeFence{closed: true}
				h.fence, h.site.MayWrite = f, !c.slave
				out := h.pass(t.Context(), pass{order: c.order, candidate: !c.slave, lifetime: forEver, left: endless})
				if f.closed || out.memory.Port != PortOpen || len(out.problems) > 0 {
					t.Errorf("the port is closed: %v, %+v", f.closed, out)
				}
			})
		})
	}
}

// TestRestartWhileFenced: an agent that is restarted while the server can't be closed for writes, as its disk hangs,
// says at once that no client reaches the server, and keeps the port closed until the server is closed for writes.
func TestRestartWhileFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{fail: map[string]error{}, block: map[string]chan struct{}{"deny": make(chan struct{})}, open: true,
			replica: caughtUp(), position: at(500)}
		f := &fakeFence{closed: true}
		began, healed := time.Now(), &atomic.Bool{}
		commits := words{folders: []string{"/data"}, waits: func() ([]mysqlctl.WriteWait, error) {
			if healed.Load() {
				return nil, nil
			}
			lasts := time.Since(began).Truncate(time.Second)
			return []mysqlctl.WriteWait{{ID: 7, State: "Commit", For: lasts, Commits: true}}, nil
		}}
		a := New(Config{Site: site(), Endpoints: vips(s), Watch: s, Announce: s, Gate: s, Local: s, Locks: s, Peers: s,
			Fence:   f,
			Commits: commits, Volume: volume{free: 1 << 30},
			Replication: s.replicating(site()),
			Uptime:      func() (float64, error) { return 77.5, nil },
			Version:     "1.0", Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		report := func() wire.Report {
			answer, err := wire.ParseAnswer(a.Handle(ctx, wire.OrderRequest("db1", order()).String()))
			if err != nil {
				t.Fatal(err)
			}
			return wire.ParseReport(answer)
		}
		report()
		time.Sleep(30 * time.Second)
		if r := report(); !r.Fenced || r.Writable != wire.No || !f.closed {
			t.Errorf("while it can't be closed: %+v, port closed %v", r, f.closed)
		}
		healed.Store(true)
		close(s.block["deny"])
		time.Sleep(5 * time.Second)
		if r := report(); r.Fenced || r.Writable != wire.No || f.closed {
			t.Errorf("when it is closed for writes: %+v, port closed %v", r, f.closed)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// hostOf is db1 on the machine s.
func hostOf(s *sim) *host {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	return &host{site: site(), publisher: vips(s), announce: s, gate: s, log: log,
		peers: s, catchUp: s.replicating(site()).CatchUp}
}

// vips publishes addresses on a machine in memory.
func vips(on interface {
	endpoint.Addresses
	endpoint.Announcer
}) endpoint.Publisher {
	return &endpoint.VIP{Addresses: on, Announcer: on, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func forEver(cluster.RoleIP) (time.Duration, error) { return 0, nil }

// caughtUp is the replication of db1 from db2, where db1 has executed all that it has received.
func caughtUp() mysqlctl.Replica {
	return mysqlctl.Replica{SourceHost: "10.0.0.2", IORunning: "Yes", SQLRunning: "Yes", Received: at(100),
		Executed: at(100)}
}

func endless() time.Duration { return lease.Forever }
