package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

func (s *sim) EndLocks(_ context.Context, who mysqlctl.Waiter) ([]string, error) {
	s.mu.Lock()
	locked := s.locked
	s.mu.Unlock()
	if locked == nil {
		return nil, nil
	}
	return locked(who)
}

// TestLockInTheWay: a lock that keeps a host from catching up is ended while the host takes over, and is reported once.
// Locks for which only the first clients wait are looked for, for a while, when the server is open.
func TestLockInTheWay(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		executes := make(chan struct{})
		var afterwards []time.Duration
		began := time.Now()
		s.set(func() {
			s.block["stop receiving"] = executes
			held := true
			s.locked = func(who mysqlctl.Waiter) ([]string, error) {
				switch {
				case who == mysqlctl.Anybody:
					afterwards = append(afterwards, time.Since(began))
				case held && time.Since(began) >= time.Second:
					held = false
					close(executes)
					return []string{"12 (backup, Sleep for 45 s: )"}, nil
				}
				return nil, nil
			}
		})
		a := say(order(writer))
		r := wire.ParseReport(a)
		const want = "Ended 1 connections whose locks kept this host from taking over, such as 12 (backup, Sleep for 45 s: )"
		if len(r.Have) != 1 || r.Writable != wire.Yes || len(r.Problems) != 1 || r.Problems[0] != want {
			t.Errorf("answer %v", a)
		}
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		time.Sleep(10 * time.Second) // virtual
		synctest.Wait()
		if n := len(afterwards); n < 10 || afterwards[n-1] > 7*time.Second {
			t.Errorf("when it was open it looked for locks at %v", afterwards)
		}
		if a := say(order(reader1, writer)); !a.OK() {
			t.Errorf("again: %v", a)
		}
	})
}

// TestLocksOfClosing: on a server that was just opened the agent stops looking for locks when the server is to be
// closed for writes: the closing itself is something that clients wait for.
func TestLocksOfClosing(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		var looks atomic.Int32
		s.set(func() { s.locked = func(mysqlctl.Waiter) ([]string, error) { looks.Add(1); return nil, nil } })
		say(order(writer))
		time.Sleep(time.Second) // virtual
		s.set(func() { s.block["deny"] = make(chan struct{}) })
		before := looks.Load()
		say(order()) // returns after patience, and the closing goes on
		if since := looks.Load() - before; before < 4 || since > 1 {
			t.Errorf("looked %d times while it was open, and %d times while it was being closed", before, since)
		}
	})
}

// TestLockStays: while a host can't catch up because of a lock that can't be ended, the monitor hears of that lock.
func TestLockStays(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		s.set(func() {
			s.block["stop receiving"] = make(chan struct{})
			s.locked = func(mysqlctl.Waiter) ([]string, error) {
				return nil, errors.New("end 12 (backup, Sleep for 45 s: ): not permitted")
			}
		})
		r := wire.ParseReport(say(order(writer)))
		if !r.Busy || len(r.Problems) == 0 || !strings.Contains(r.Problems[0], "12 (backup, Sleep") {
			t.Errorf("busy %v, problems %q", r.Busy, r.Problems)
		}
		s.set(func() { s.locked = nil })   // whoever had it has let go
		time.Sleep(700 * time.Millisecond) // virtual; the attempt to stop receiving is given up after 5 s
		if r := wire.ParseReport(say(order(writer))); !r.Busy || strings.Contains(strings.Join(r.Problems, ";"), "12 (backup") {
			t.Errorf("without the lock: busy %v, problems %q", r.Busy, r.Problems)
		}
	})
}
