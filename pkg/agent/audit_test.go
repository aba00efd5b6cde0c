package agent

import (
	"strings"
	"testing"
	"testing/synctest"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// TestLookAgain: a former writer whose audit has found something is audited again when its log has begun anew, and not
// before.
func TestLookAgain(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		o := order()
		o.Left = "bin.000001:100"
		s.set(func() { s.log = []mysqlctl.Transaction{logged("bin.000001", 100, 2, "0-2-7")} })
		for _, step := range []struct {
			end    uint64
			looks  int
			beyond int
		}{{500, 1, 1}, {500, 1, 1}, {600, 1, 1}, {90, 2, 0}, {95, 2, 0}} {
			s.set(func() {
				s.position = at(step.end)
				if step.end < 100 {
					s.log = nil
				}
			})
			say(o)
			synctest.Wait()
			found := wire.ParseReport(say(o)).Audit
			if n := strings.Count(s.history(), "transactions"); n != step.looks || !found.Done ||
				found.Beyond != step.beyond || (found.Finding == "") != (step.beyond == 0) {
				t.Errorf("log up to %d: looked %d times, found %+v", step.end, n, found)
			}
		}
	})
}

// TestLookAfterAnotherReign: a former writer whose audit has found nothing, and that was the writer again since, is
// audited again, even where its successor names the very same place in its log.
func TestLookAfterAnotherReign(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		asked, reign := order(), order(writer)
		asked.Left = "bin.000001:100"
		for _, step := range []struct {
			order  cluster.Order
			found  cluster.Audit
			writes []mysqlctl.Transaction
		}{
			{order: asked, found: cluster.Audit{At: asked.Left, Done: true}},
			{order: asked, found: cluster.Audit{At: asked.Left, Done: true}},
			{order: reign, writes: []mysqlctl.Transaction{logged("bin.000001", 100, 2, "0-2-7")}},
			{order: asked, found: cluster.Audit{At: asked.Left, Done: true, Beyond: 1,
				Finding: "it has 1 transaction that nobody else has: 0-2-7"}},
		} {
			say(step.order)
			synctest.Wait()
			if got := wire.ParseReport(say(step.order)).Audit; got != step.found {
				t.Errorf("asked for %q it found %+v, want %+v", step.order.Left, got, step.found)
			}
			s.set(func() {
				s.log, s.position = append(s.log, step.writes...), at(100+100*uint64(len(s.log)+len(step.writes)))
			})
		}
	})
}

func logged(file string, offset uint64, server uint32, gtid string) mysqlctl.Transaction {
	return mysqlctl.Transaction{At: mysqlctl.Position{File: file, Offset: offset}, ServerID: server, GTID: gtid}
}
