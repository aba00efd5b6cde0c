package agent

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

// returned is the server of a former writer that answers again.
type returned struct {
	deadRemote
	end   mysqlctl.Position
	gtids string
}

func (r returned) Position(context.Context) (mysqlctl.Position, error) { return r.end, nil }
func (r returned) Transactions(context.Context, mysqlctl.Position, mysqlctl.Position, int) ([]mysqlctl.Transaction,
	error) {
	return nil, nil
}
func (r returned) GTIDs(context.Context) (string, error) { return r.gtids, nil }

// TestTrusted: replication from a former writer that is trusted goes on where its log still has the place up to which
// this host has read it. Where the former writer was set up anew and has a new log, replication does not go on before
// somebody has said from which place.
func TestTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		peer    replication.Remote
		read    mysqlctl.Position
		gtid    bool
		started bool
		problem string
	}{
		"its log goes on":       {returned{end: at(150)}, at(100), false, true, ""},
		"its log ends there":    {returned{end: at(100)}, at(100), false, true, ""},
		"nothing was ever read": {returned{end: at(50)}, mysqlctl.Position{}, false, true, ""},
		"a new log": {returned{end: at(50)}, at(100), false, false,
			"has a new binary log, which ends at bin.000001:50, and this host has read the former one up to bin.000001:100"},
		"a new log of another name": {returned{end: mysqlctl.Position{File: "log.000001", Offset: 999}},
			at(100), false, false, "has a new binary log"},
		"a new log, but somebody has said so": {returned{end: at(50)}, at(50), false, true, ""},
		"a new log, found by MariaDB's GTIDs": {returned{end: at(50)}, at(100), true, false, "has a new binary log"},
		"a new log, found by MySQL's GTIDs": {returned{end: at(50),
			gtids: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"}, at(100), true, true, ""},
		"MySQL has GTIDs, and they go unused": {returned{end: at(50),
			gtids: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"}, at(100), false, false, "has a new binary log"},
		"it is gone again, which is no answer": {deadRemote{}, at(100), false, false, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			runNoted(t, false, "db1|"+at(100).String()+"\n",
				func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
					s.set(func() {
						s.peer, s.replica.IORunning, s.replica.Received, s.replica.UsesGTID = c.peer, "No", c.read,
							c.gtid
					})
					o := order()
					say(o)
					synctest.Wait()
					if got := s.history(); strings.Contains(got, "start replication") {
						t.Errorf("before it was trusted it did %s", got)
					}
					o.Trust = "db1@bin.000001:100"
					say(o)
					synctest.Wait()
					answer := say(o).Text
					if got := strings.Contains(s.history(), "start replication"); got != c.started {
						t.Errorf("it did %s", s.history())
					}
					if (a.replication.State().Embargo.Host == "") != c.started {
						t.Errorf("embargo: %+v", a.replication.State().Embargo)
					}
					if !strings.Contains(answer, c.problem) || c.problem == "" && strings.Contains(answer, "ERROR") {
						t.Errorf("it answers %s", answer)
					}
				})
		})
	}
}

// TestSourceSetUpAnew: a slave that is ahead of the new writer, and whose source has a new log, is not started again:
// some day the new log will reach the slave's place, and the slave would go on there with other transactions.
func TestSourceSetUpAnew(t *testing.T) {
	run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		s.set(func() {
			s.replica.Executed, s.replica.IORunning, s.replica.IOErrno, s.replica.IOError = at(120), "No", 1236,
				"Client requested source to start replication from position > file size"
		})
		o := order()
		o.Switch = cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
		for range 3 {
			say(o)
			synctest.Wait()
		}
		if got := s.history(); strings.Contains(got, "start") || strings.Contains(got, "repoint") ||
			!strings.Contains(got, "stop replication") {
			t.Errorf("it did %s", got)
		}
		want := "does not go up to bin.000001:120 any more, to which this slave has executed it: it must be set up anew (Client requested"
		if a := say(o); !strings.Contains(a.Text, want) {
			t.Errorf("answer %v, want %s", a, want)
		}
	})
}
