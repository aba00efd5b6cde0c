package replication

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/mysqlctl"
)

// committing is a server whose last transactions wait for an acknowledgement, and are committed when it is told to
// stop.
type committing struct {
	*sim
	then mysqlctl.Position // up to where it has executed once it has stopped
}

func (c committing) StopReplication(ctx context.Context) error {
	return c.op(ctx, "stop replication", func() { c.replica.Executed = c.then })
}

// TestDrain: drain returns the place up to which the dead writer's log has been executed once the SQL thread has
// stopped, with what was committed by stopping it.
func TestDrain(t *testing.T) {
	for name, c := range map[string]struct {
		executed, then uint64
		stopped        bool
		said           string
	}{
		"all is executed": {200, 200, false, ""},
		"half a transaction": {100, 100, true,
			"The last transaction received of 'db1' is not whole: executed up to bin.000001:100, received up to bin.000001:200"},
		"the last one is only committing":   {100, 200, true, ""},
		"one is committing, one is no more": {100, 150, true, "is not whole: executed up to bin.000001:150"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{replica: mysqlctl.Replica{SourceHost: "10.0.0.1", SQLRunning: "Yes", Drained: true,
					Received: at(200), Executed: at(c.executed)}}
				var said strings.Builder
				got, err := catchUp{local: committing{s, at(c.then)},
					log: slog.New(slog.NewTextHandler(&said, nil))}.drain(t.Context(), "db1")
				if err != nil || got != at(c.then) {
					t.Errorf("it is executed up to %v, %v", got, err)
				}
				if stopped := s.history() != ""; stopped != c.stopped || !strings.Contains(said.String(), c.said) ||
					c.said == "" && said.Len() > 0 {
					t.Errorf("it did %s, and said %s", s.history(), said.String())
				}
			})
		})
	}
}

// reset is the server of a writer whose binary log was begun anew, or is as it was.
type reset struct {
	returned
	lost  string
	found time.Time // from then on nothing is lost: the server has committed the rest; zero: never
	fail  error
}

func (r reset) Lost(context.Context, string) (string, error) {
	if !r.found.IsZero() && !time.Now().Before(r.found) {
		return "", r.fail
	}
	return r.lost, r.fail
}

// TestResetLog: a host that has executed more of the source's log than there is has not caught up: the source has a new
// log.
func TestResetLog(t *testing.T) {
	const wasReset = "that log was reset, and what was written to it since is not on this host: set this host up anew, or take over with move_role --force"
	for name, c := range map[string]struct {
		end     mysqlctl.Position
		gtids   string
		applied string
		lost    string
		late    time.Duration // until the source has committed what it has sent
		fail    error
		want    string
	}{
		"it goes on":    {end: at(200)},
		"level":         {end: at(100)},
		"level by GTID": {end: at(100), gtids: "a:1-7", applied: "a:1-7"},
		"shorter": {end: at(50),
			want: "the binary log of 'db1' ends at bin.000001:50, and this host has read it up to bin.000001:100: " +
				wasReset},
		"shorter, found by GTIDs": {end: at(50), gtids: "a:1-3", applied: "a:1-7",
			want: "the binary log of 'db1' ends at bin.000001:50, and this host has read it up to bin.000001:100: " +
				wasReset},
		"of another name": {end: mysqlctl.Position{File: "log.000001", Offset: 999},
			want: "the binary log of 'db1' ends at log.000001:999, and this host has read it up to bin.000001:100: " +
				wasReset},
		"longer than the one before": {end: at(200), gtids: "a:1-3", applied: "a:1-7", lost: "a:4-7",
			want: "'db1' has lost its own transactions a:4-7 from its binary log: " + wasReset},
		"waits for an acknowledgement": {end: at(200), gtids: "a:1-7", applied: "a:1-7", lost: "a:7",
			late: 300 * time.Millisecond},
		"it says nothing of its GTIDs": {end: at(200), applied: "a:1-7", lost: "a:7", fail: errGone},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := reset{returned: returned{end: c.end, gtids: c.gtids}, lost: c.lost, fail: c.fail}
				if c.late > 0 {
					source.found = time.Now().Add(c.late)
				}
				s := &sim{position: at(500), peer: source, applied: []string{c.applied},
					replica: mysqlctl.Replica{SourceHost: "10.0.0.1",
						IORunning: "Yes", SQLRunning: "Yes", Received: at(100), Executed: at(100),
						UsesGTID: c.applied != ""}}
				sw, err := catchUp{self: "db2", local: s, own: s, peers: s, embargo: &embargo{},
					log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
					stopping: &sync.WaitGroup{}}.run(t.Context(),
					cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}})
				if c.want == "" && (err != nil || sw.Start == "") || c.want != "" &&
					(err == nil || err.Error() != c.want) {
					t.Errorf("took over at %+v, %v, want %q", sw, err, c.want)
				}
				if strings.Contains(s.history(), "wait") != (c.want == "" && (c.end == at(200) || c.gtids != "")) {
					t.Errorf("it did %s", s.history())
				}
			})
		})
	}
}

// refusing is the server of a former writer that answers every question with an error.
type refusing struct {
	deadRemote
	err error
}

func (r refusing) Position(context.Context) (mysqlctl.Position, error) {
	return mysqlctl.Position{}, r.err
}

// TestRefusingFormerWriter: a former writer that has given the role up, and whose server refuses this agent, is alive:
// what it has written may still be on its way. This host waits until nothing comes in any more; where it is not
// connected to that server it does not take over, and says why.
func TestRefusingFormerWriter(t *testing.T) {
	for name, c := range map[string]struct {
		number uint16
		gone   string
		down   bool
		io     string
		waits  bool
		fails  bool
	}{
		"wrong password":            {1045, "db1", false, "Yes", true, false},
		"locked account":            {4151, "db1", false, "Yes", true, false},
		"no connection left":        {1040, "db1", false, "Yes", true, false},
		"no privilege":              {1227, "db1", false, "Yes", true, false},
		"it refuses replicas, too":  {1045, "db1", false, "Connecting", false, true},
		"it shuts down":             {1053, "db1", false, "Yes", false, false},
		"its server has ended":      {1045, "db1", true, "Connecting", false, false},
		"it has not given its word": {1045, "", false, "Connecting", false, false},
		"it is another one's word":  {1045, "db3", false, "Connecting", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{position: at(500), peer: refusing{err: &mysql.MySQLError{Number: c.number, Message: "no"}},
					replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: c.io, SQLRunning: "Yes", Drained: true,
						Received: at(100), Executed: at(100)}}
				time.AfterFunc(80*time.Millisecond, func() {
					s.mu.Lock()
					defer s.mu.Unlock()
					if s.replica.IORunning == "Yes" {
						s.replica.Received, s.replica.Executed = at(200), at(200)
					}
				})
				sw, err := catchUp{self: "db2", local: s, own: s, peers: s,
					embargo: newEmbargo(t.TempDir()+"/state.embargo", durable.Disk{}, isDB1),
					log:     slog.New(slog.NewTextHandler(io.Discard, nil)), stopping: &sync.WaitGroup{}}.run(t.Context(),
					cluster.Order{Lease: cluster.Lease(3 * time.Second), Down: c.down,
						Epoch:  cluster.Epoch{Number: 2, Holder: "db2", Gone: c.gone},
						Switch: cluster.Switch{From: "db1", To: "db2"}})
				if (err != nil) != c.fails || err != nil && !strings.Contains(err.Error(), "the server of 'db1' is alive, and does not say") ||
					(sw.After == at(200).String()) != c.waits {
					t.Errorf("it did %s, took over at %+v, %v", s.history(), sw, err)
				}
			})
		})
	}
}

// TestTakenOverBefore: a writer is opened anew that took over from a dead one, which is back and has not been looked
// at. It does not wait for the end of the former writer's log, because nothing of that log comes in.
func TestTakenOverBefore(t *testing.T) {
	noted := cluster.Embargo{Host: "db1", At: at(100).String()}
	for name, c := range map[string]struct {
		executed mysqlctl.Position
		embargo  cluster.Embargo
		after    string // as the monitor knows it
	}{
		"as it took over": {at(100), noted, ""},
		"its server was restarted, and pulled a little": {at(150), noted, ""},
		"its note is lost, and the monitor knows it":    {at(100), cluster.Embargo{}, at(100).String()},
		"its note is another cluster's": {at(100), cluster.Embargo{Host: "db9", At: at(7).String()},
			at(100).String()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{position: at(500), peer: returned{end: at(900)},
					block: map[string]chan struct{}{"wait bin.000001:900": make(chan struct{})},
					replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "No", SQLRunning: "Yes",
						Received: c.executed, Executed: c.executed}}
				e := &embargo{now: c.embargo}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				sw, err := catchUp{self: "db2", local: s, own: s, peers: s, embargo: e,
					log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
					stopping: &sync.WaitGroup{}}.run(ctx, cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2",
					After: c.after}})
				if err != nil || sw.After != at(100).String() || sw.From != "db1" || sw.Start != at(500).String() {
					t.Errorf("%+v, %v", sw, err)
				}
			})
		})
	}
}

// TestUnfinishedTakeover: an attempt to take over had given the former writer up, which answers now. This host has not
// taken over by that, whatever the monitor knows of an earlier time: it receives again, and catches up.
func TestUnfinishedTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{position: at(500), peer: returned{end: at(900)}, replica: mysqlctl.Replica{SourceHost: "10.0.0.1",
			IORunning: "No", SQLRunning: "Yes", Received: at(700), Executed: at(700)}}
		e := newEmbargo(t.TempDir()+"/state.embargo", durable.Disk{}, isDB1)
		if err := e.set(cluster.Embargo{Host: "db1"}); err != nil {
			t.Fatal(err)
		}
		sw, err := catchUp{self: "db2", local: s, own: s, peers: s, embargo: e,
			log: slog.New(slog.NewTextHandler(io.Discard, nil)), stopping: &sync.WaitGroup{}}.run(t.Context(),
			cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2", After: at(100).String()}})
		if did := s.history(); err != nil || sw.After != at(900).String() || e.get() != (cluster.Embargo{}) ||
			s.replica.IORunning != "Yes" {
			t.Errorf("it did %s, and took over at %+v, %v; embargo %v", did, sw, err, e.get())
		}
	})
}

// hungUp is the server of a former writer that has not answered yet when the question is given up.
type hungUp struct{ deadRemote }

func (hungUp) Position(ctx context.Context) (mysqlctl.Position, error) {
	<-ctx.Done()
	return mysqlctl.Position{}, ctx.Err()
}

// slowToStop is a busy server: it executes the order to stop receiving 2 s after it was given, and receives more of the
// source meanwhile.
type slowToStop struct{ *sim }

func (s slowToStop) StopReceiving(ctx context.Context) error {
	time.AfterFunc(time.Second, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.replica.Received, s.replica.Executed = at(300), at(300)
	})
	select {
	case <-time.After(2 * time.Second):
		return s.sim.StopReceiving(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestSlowToStopReceiving: what a source has sent still comes in until the I/O thread has stopped, and is executed: a
// host that were opened before would have it written over its own transactions. A thread that has stopped is enough,
// also where the server takes long to say so.
func TestSlowToStopReceiving(t *testing.T) {
	for io, c := range map[string]struct {
		after time.Duration
		up    mysqlctl.Position
	}{
		"Yes":        {2 * time.Second, at(300)},
		"Connecting": {200 * time.Millisecond, at(100)},
		"No":         {200 * time.Millisecond, at(100)},
	} {
		t.Run(io, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{position: at(500), replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: io,
					SQLRunning: "Yes", Drained: true, Received: at(100), Executed: at(100)}}
				began := time.Now()
				var stopping sync.WaitGroup
				sw, err := catchUp{self: "db2", local: slowToStop{s}, own: s, peers: s,
					embargo: newEmbargo(t.TempDir()+"/state.embargo", durable.Disk{}, isDB1),
					log:     slog.New(slog.DiscardHandler), stopping: &stopping}.run(t.Context(),
					cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}})
				took := time.Since(began).Round(100 * time.Millisecond)
				if err != nil || sw.After != c.up.String() || took != c.after {
					t.Errorf("took over at %s after %v, %v; want %s and %v", sw.After, took, err, c.up, c.after)
				}
				stopping.Wait()
			})
		})
	}
}

// workers are threads that execute the rest of what was received once it may be committed, which takes a while.
type workers struct {
	*sim
	since time.Time
	waits bool // for an acknowledgement, before all else
	rest  mysqlctl.Position
}

func (w *workers) Applier(context.Context) (mysqlctl.Applier, error) {
	busy := w.waits || time.Since(w.since) < 5*time.Second
	if !busy {
		w.replica.Executed = w.rest
	}
	return mysqlctl.Applier{Busy: busy, Unacknowledged: w.waits}, nil
}

func (w *workers) ReleaseCommits(context.Context) error {
	w.done, w.waits, w.since = append(w.done, "release"), false, time.Now()
	return nil
}

// TestParallelWorkers: what was received is waited for while workers execute it, however long that takes, though all of
// it has been read: STOP SLAVE would drop whole transactions that wait for their turn. A commit that waits for an
// acknowledgement is let go. A transaction that is not whole is given up when no worker has anything to do.
func TestParallelWorkers(t *testing.T) {
	for name, c := range map[string]struct {
		waits bool
		rest  uint64
		want  string
		after time.Duration
	}{
		"they execute":                  {false, 200, "", 5 * time.Second},
		"they wait for nobody's answer": {true, 200, "release", 5 * time.Second},
		"the last one is not whole":     {false, 150, "stop replication", 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "No", SQLRunning: "Yes",
					Received: at(200), Executed: at(100), Drained: true}}
				w := &workers{sim: s, since: time.Now(), waits: c.waits, rest: at(c.rest)}
				began := time.Now()
				up, err := catchUp{self: "db2", local: s, appliers: w, log: slog.New(slog.DiscardHandler)}.drain(t.Context(),
					"db1")
				took := time.Since(began).Round(100 * time.Millisecond)
				if err != nil || up != at(c.rest) || s.history() != c.want || took != c.after {
					t.Errorf("up to %s after %v, %v; it did %q, want %q", up, took, err, s.history(), c.want)
				}
			})
		})
	}
}

// TestInterruptedQuestion: a newer order that interrupts the question to the former writer proves nothing about that
// one: its replication goes on.
func TestInterruptedQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{position: at(500), peer: hungUp{}, replica: mysqlctl.Replica{SourceHost: "10.0.0.1",
			IORunning: "Yes", SQLRunning: "Yes", Received: at(700), Executed: at(700)}}
		e := newEmbargo(t.TempDir()+"/state.embargo", durable.Disk{}, isDB1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err := catchUp{self: "db2", local: s, own: s, peers: s, embargo: e,
			log: slog.New(slog.NewTextHandler(io.Discard, nil)), stopping: &sync.WaitGroup{}}.run(ctx,
			cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}})
		if !errors.Is(err, context.Canceled) || e.get() != (cluster.Embargo{}) || s.history() != "" {
			t.Errorf("it did %s, %v; embargo %v", s.history(), err, e.get())
		}
		// nor does it say anything of data that is lost, where this host replicates from no known host
		s.replica.SourceHost = "203.0.113.9"
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		var said strings.Builder
		_, err = catchUp{self: "db2", local: s, own: s, peers: s, embargo: e,
			log: slog.New(slog.NewTextHandler(&said, nil)), stopping: &sync.WaitGroup{}}.run(ctx,
			cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}})
		if !errors.Is(err, context.Canceled) || said.Len() > 0 {
			t.Errorf("%v: %s", err, said.String())
		}
	})
}

// TestReceivingStopped: where the I/O thread is stopped, what CatchUp waits for can't come in. The thread is started
// for a source that the monitor trusts; for any other one CatchUp fails at once, and not after ten minutes of waiting.
func TestReceivingStopped(t *testing.T) {
	const stopped = "receive up to bin.000001:900 of 'db1': replication does not run: the I/O thread is stopped at bin.000001:100: " +
		"START SLAVE IO_THREAD, or take over with move_role --force"
	for name, c := range map[string]struct {
		io    string
		end   mysqlctl.Position
		trust string
		want  string
		did   string
	}{
		"it receives":               {"Yes", at(900), "", "", "wait bin.000001:900"},
		"it connects":               {"Connecting", at(900), "", "", "wait bin.000001:900"},
		"nothing more is needed":    {"No", at(100), "", "", ""},
		"somebody has stopped it":   {"No", at(900), "", stopped, ""},
		"the source is trusted":     {"No", at(900), "db1@bin.000001:50", "", "start replication, wait bin.000001:900"},
		"another source is trusted": {"No", at(900), "db3@bin.000001:50,db11@bin.000001:50", stopped, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{position: at(500), peer: returned{end: c.end},
					replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: c.io, SQLRunning: "Yes",
						Received: at(100), Executed: at(100)}}
				_, err := catchUp{self: "db2", local: s, own: s, peers: s,
					embargo: &embargo{now: cluster.Embargo{Host: "db9", At: "x"}},
					log:     slog.New(slog.NewTextHandler(io.Discard, nil)), stopping: &sync.WaitGroup{}}.
					run(t.Context(), cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}, Trust: c.trust})
				if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				if s.history() != c.did {
					t.Errorf("it did %q, want %q", s.history(), c.did)
				}
			})
		})
	}
}

// TestLacks: a host that is known to lack something is not opened before the only host that has it has answered. It
// keeps its replication and has no embargo meanwhile, so that it can go on once that host answers.
func TestLacks(t *testing.T) {
	const only = ", and only 'db1' has what this host lacks: this host is not opened before the server of 'db1' has answered it (move_role --force opens it all the same)"
	from1 := mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "Yes", SQLRunning: "Yes", Received: at(100),
		Executed: at(100)}
	nobody := from1
	nobody.SourceHost = "10.0.0.99"
	up, silent := returned{end: at(900)}, deadRemote{}
	for name, c := range map[string]struct {
		replica mysqlctl.Replica
		none    bool // it replicates from nobody
		source  Remote
		order   cluster.Order
		want    string
		did     string
	}{
		"it answers": {from1, false, up, cluster.Order{Lacks: true}, "", "wait bin.000001:900"},
		"it does not": {from1, false, silent, cluster.Order{Lacks: true},
			"the server of 'db1' does not answer" + only, ""},
		"it does not, and is cut off": {from1, false, silent, cluster.Order{Lacks: true, Cut: true},
			"the server of 'db1' does not answer" + only, ""},
		"nothing is lacking": {from1, false, silent, cluster.Order{}, "", "stop receiving"},
		"by force": {from1, false, silent, cluster.Order{Lacks: true, Forced: true}, "",
			"stop replication"},
		"its source is another one": {from1, false, up, cluster.Order{Lacks: true,
			Switch: cluster.Switch{From: "db3", To: "db2"}},
			"this host replicates from 'db1'" + strings.ReplaceAll(only, "db1", "db3"), ""},
		"its source is no host": {nobody, false, silent, cluster.Order{Lacks: true},
			"this host replicates from 10.0.0.99:0 (server_id 0), no known host" + only, ""},
		"it has no source": {from1, true, up, cluster.Order{Lacks: true},
			"this host replicates from nobody" + only, ""},
		"it has no source, and may":    {from1, true, up, cluster.Order{}, "", ""},
		"it has no source, and has to": {from1, true, up, cluster.Order{Lacks: true, Forced: true}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{position: at(500), peer: c.source, replica: c.replica}
				if c.none {
					s.fail = map[string]error{"replica": mysqlctl.ErrNotReplica}
				}
				e := &embargo{}
				if c.order.Switch == (cluster.Switch{}) {
					c.order.Switch = cluster.Switch{From: "db1", To: "db2"}
				}
				sw, err := catchUp{self: "db2", local: s, own: s, peers: s, embargo: e,
					log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
					stopping: &sync.WaitGroup{}}.run(t.Context(), c.order)
				if c.want == "" && (err != nil || sw.Start == "") || c.want != "" &&
					(err == nil || err.Error() != c.want) {
					t.Errorf("took over at %+v, %v, want %q", sw, err, c.want)
				}
				if s.history() != c.did || c.want != "" && e.get() != (cluster.Embargo{}) {
					t.Errorf("it did %q and keeps away from %+v, want %q", s.history(), e.get(), c.did)
				}
			})
		})
	}
}

// dumpsOf notes of which replicas the connections were ended.
type dumpsOf struct {
	ended []string
	fail  error
}

func (d *dumpsOf) EndDumps(_ context.Context, replica netip.Addr) (int, error) {
	d.ended = append(d.ended, replica.String())
	return len(d.ended), d.fail
}

// TestUnhook: a host that takes over from a writer that does not answer ends the connections by which that writer
// replicates from here. Where they can't be ended it takes over all the same. A writer that answers keeps its
// connections.
func TestUnhook(t *testing.T) {
	for name, c := range map[string]struct {
		peer Remote
		fail error
		want []string
	}{
		"it does not answer":  {deadRemote{}, nil, []string{"10.0.0.1"}},
		"that can't be ended": {deadRemote{}, errGone, []string{"10.0.0.1"}},
		"it answers":          {returned{end: at(100)}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{position: at(500), peer: c.peer, replica: mysqlctl.Replica{SourceHost: "10.0.0.1",
					IORunning: "Yes", SQLRunning: "Yes",
					Received: at(100), Executed: at(100)}}
				d := &dumpsOf{fail: c.fail}
				sw, err := catchUp{self: "db2", local: s, own: s, peers: s, dumps: d, embargo: &embargo{},
					log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
					stopping: &sync.WaitGroup{}}.run(t.Context(),
					cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}})
				if err != nil || sw.After != at(100).String() || !slices.Equal(d.ended, c.want) {
					t.Errorf("%+v, %v; ended %v, want %v", sw, err, d.ended, c.want)
				}
			})
		})
	}
}
