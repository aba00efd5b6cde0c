package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/store"
)

// hall is a subscriber and an approver that keeps what it was told and asked.
type hall struct {
	mu    sync.Mutex
	heard []string
	asked []event.Event
	no    func() string
}

func (h *hall) Hear(e event.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Name != event.Check && e.Name != event.Note {
		h.heard = append(h.heard, fmt.Sprintf("%s %s %s>%s", e.Name, e.Role, e.From, e.To))
	}
}

func (h *hall) Approve(_ context.Context, e event.Event) string {
	h.mu.Lock()
	h.asked = append(h.asked, e)
	no := h.no
	h.mu.Unlock()
	return no()
}

func (h *hall) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	heard := h.heard
	h.heard = nil
	return heard
}

// runHeard is run with a subscriber and approver.
func runHeard(t *testing.T, f func(m *Monitor, a *agents, h *hall)) {
	run(t, func(m *Monitor, a *agents) {
		h := &hall{no: func() string { return "" }}
		// No data race: in virtual time the owner is at rest here, and goes on only after this.
		m.cfg.Subscribers, m.cfg.Approver, m.cfg.Cluster = []Subscriber{h}, h, "c1"
		f(m, a, h)
	})
}

func TestPromotionsAreHeard(t *testing.T) {
	runHeard(t, func(m *Monitor, _ *agents, h *hall) {
		say := func(line string) string { return m.Handle(context.Background(), line) }
		if got := say("move_role writer db2"); !strings.HasPrefix(got, "OK") {
			t.Fatal(got)
		}
		want := []string{"role writer db1>db2", "before_promotion writer db1>db2", "after_promotion writer db1>db2"}
		if got := h.take(); !slices.Equal(got, want) {
			t.Errorf("a move: %q", got)
		}
		if len(h.asked) != 1 || h.asked[0].From != "db1" || h.asked[0].To != "db2" || h.asked[0].Role != "writer" ||
			h.asked[0].IP != "10.0.0.100" || h.asked[0].Cluster != "c1" {
			t.Errorf("asked %+v", h.asked)
		}
		say("set_offline db2")
		time.Sleep(time.Second)
		synctest.Wait()
		got := h.take()
		want = []string{"state  ONLINE>ADMIN_OFFLINE", "role writer db2>", "unprotected  >",
			"before_promotion writer db2>db1", "after_promotion writer db2>db1"}
		slices.Sort(want)
		if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, want) {
			t.Errorf("a host taken away: %q", got)
		}
		say("set_online db2")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := h.take(); !slices.Equal(got, []string{"state  ADMIN_OFFLINE>ONLINE", "protected  >"}) {
			t.Errorf("and back: %q", got)
		}
	})
}

// An objection stops the move, and mmm_control says why. The approver is not asked about a move that is refused anyway,
// nor about a forced move, nor about a role other than the active master role.
func TestObjection(t *testing.T) {
	runHeard(t, func(m *Monitor, a *agents, h *hall) {
		say := func(line string) string { return m.Handle(context.Background(), line) }
		h.no = func() string { return "Hook 'x' says no: backup" }
		if got := say("move_role writer db2"); got != "ERROR: Hook 'x' says no: backup" {
			t.Error(got)
		}
		if w := m.snapshot.Load().State.ActiveMaster(m.cfg.Topology); w != "db1" || len(h.take()) > 0 {
			t.Errorf("writer %s", w)
		}
		asked := len(h.asked)
		for _, line := range []string{"move_role writer db1", "move_role writer db3", "move_role writer db9",
			"move_role reader db2", "move_role writer", "move_role --force writer db2", "set_offline db3"} {
			say(line)
		}
		if len(h.asked) != asked {
			t.Errorf("asked %+v", h.asked[asked:])
		}
		// The target's agent goes down while the approver is asked: the command is judged by what is true afterwards.
		h.no = func() string { a.set(a.down, "db2", true); return "" }
		if got := say("move_role writer db2"); got != "ERROR: Can't reach agent daemon on 'db2'! Can't move roles there!" {
			t.Error(got)
		}
	})
}

// While an approver thinks, everything else goes on.
func TestNobodyWaitsForAnApprover(t *testing.T) {
	runHeard(t, func(m *Monitor, _ *agents, h *hall) {
		h.no = func() string { time.Sleep(time.Hour); return "too late" }
		answer := make(chan string, 1)
		go func() { answer <- m.Handle(context.Background(), "move_role writer db2") }()
		synctest.Wait()
		began := time.Now()
		if got := m.Handle(context.Background(), "set_offline db1"); !strings.HasPrefix(got, "OK") {
			t.Error(got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if w := m.snapshot.Load().State.ActiveMaster(m.cfg.Topology); w != "db2" || time.Since(began) > 2*time.Second {
			t.Errorf("after %v the writer is %s", time.Since(began), w)
		}
		if got := <-answer; got != "ERROR: too late" {
			t.Error(got)
		}
	})
}

// A monitor that takes over from another one does not tell again that nobody could take over from the writer, and tells
// when somebody could again.
func TestExposureAcrossReload(t *testing.T) {
	status := filepath.Join(t.TempDir(), "status")
	synctest.Test(t, func(t *testing.T) {
		var log lines
		a := &agents{hang: map[string]bool{}, down: map[string]bool{"db2": true}}
		top := topology()
		var before *Monitor
		live := func(until func()) {
			m := New(Config{Topology: top, Mode: cluster.Active, StatusPath: status,
				Store: store.NewFile(status, durable.Disk{}), KillBin: "/nonexistent/kill_host",
				Agents: a, AgentPorts: map[string]int{}, Log: slog.New(slog.NewTextHandler(&log, nil)), After: before,
				Checks: Checks{
					Registry: check.Known(),
					Network:  func(doubt <-chan struct{}, emit func(bool)) Task { return upAlways{doubt, emit} },
					Hosts:    func(emit func(check.Update)) []Task { return goodChecks(top, emit) },
				}})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- m.Run(ctx) }()
			time.Sleep(20 * time.Second)
			until()
			synctest.Wait()
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			before = m
		}
		told := func(when string, alone, again int) {
			t.Helper()
			if n := strings.Count(log.String(), "Nobody could take role 'writer' over from 'db1'"); n != alone {
				t.Errorf("%s: told %d times that nobody could take over, want %d:\n%s", when, n, alone, &log)
			}
			if n := strings.Count(log.String(), "Role 'writer' could be taken over again"); n != again {
				t.Errorf("%s: told %d times that somebody could again, want %d:\n%s", when, n, again, &log)
			}
		}
		live(func() {})
		told("at first", 1, 0)
		live(func() {
			told("reloaded", 1, 0)
			a.set(a.down, "db2", false)
			time.Sleep(20 * time.Second)
		})
		told("db2 is back", 1, 1)
	})
}
