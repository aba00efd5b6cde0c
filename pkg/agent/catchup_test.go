package agent

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"mysql-mmm/pkg/mysqlctl"
)

// committing is a server that executes no more of what it has received before it is told to stop, as one whose commit waits for an
// acknowledgement.
type committing struct {
	*sim
	then mysqlctl.Position // up to where it has executed when it has stopped
}

func (c committing) StopReplication(ctx context.Context) error {
	return c.op(ctx, "stop replication", func() { c.replica.Executed = c.then })
}

// TestDrain: the place up to which the dead writer's log has been executed is the one after the end of the execution, whatever that finishes.
func TestDrain(t *testing.T) {
	for name, c := range map[string]struct {
		executed, then uint64
		stopped        bool
		said           string
	}{
		"all is executed":                   {200, 200, false, ""},
		"half a transaction":                {100, 100, true, "The last transaction received of 'db1' is not whole: executed up to bin.000001:100, received up to bin.000001:200"},
		"the last one is only committing":   {100, 200, true, ""},
		"one is committing, one is no more": {100, 150, true, "is not whole: executed up to bin.000001:150"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{replica: mysqlctl.Replica{SourceHost: "10.0.0.1", SQLRunning: "Yes", Drained: true, Received: at(200), Executed: at(c.executed)}}
				var said strings.Builder
				got, err := catchUp{local: committing{s, at(c.then)}, log: slog.New(slog.NewTextHandler(&said, nil))}.drain(t.Context(), "db1")
				if err != nil || got != at(c.then) {
					t.Errorf("it is executed up to %v, %v", got, err)
				}
				if stopped := s.history() != ""; stopped != c.stopped || !strings.Contains(said.String(), c.said) || c.said == "" && said.Len() > 0 {
					t.Errorf("it did %s, and said %s", s.history(), said.String())
				}
			})
		})
	}
}
