package replication

import (
	"context"
	"strings"
	"testing"

	"mysql-mmm/pkg/mysqlctl"
)

// begunAnew is the server of a former writer with a log that it may have begun anew.
type begunAnew struct {
	returned
	boundary bool // there is an event at the place up to which this host has read
}

func (b begunAnew) Transactions(context.Context, mysqlctl.Position, mysqlctl.Position, int) ([]mysqlctl.Transaction,
	error) {
	if !b.boundary {
		return nil, mysqlctl.ErrLogGone
	}
	return nil, nil
}

// TestNewLogGrows: a source whose log was found to be a new one is not followed at the old place when that log has
// become longer, until somebody has named another place. Nor is a log that has no event at that place.
func TestNewLogGrows(t *testing.T) {
	s := &sim{}
	f := &follower{peers: s}
	for _, step := range []struct {
		what     string
		end      uint64
		boundary bool
		received uint64
		new      bool
	}{
		{"the log goes on", 200, true, 100, false},
		{"the log ends there", 100, true, 100, false},
		{"an event is in the way", 200, false, 100, true},
		{"after that", 200, true, 100, true},
		{"somebody names a place", 200, true, 150, false},
		{"the log is shorter", 120, true, 150, true},
		{"it has grown", 300, true, 150, true},
		{"it has grown, and somebody names a place", 300, true, 120, false},
	} {
		s.peer = begunAnew{returned{end: at(step.end)}, step.boundary}
		err := f.reaches(t.Context(), mysqlctl.Replica{SourceHost: "10.0.0.1", Received: at(step.received)})
		if (err != nil) != step.new || err != nil && !strings.Contains(err.Error(), "host 'db1' has a new binary log") {
			t.Errorf("%s: %v", step.what, err)
		}
	}
	// By GTID the place is found in any log, so that nothing begins in the middle of it.
	s.peer = begunAnew{returned{end: at(300)}, false}
	if err := f.reaches(t.Context(), mysqlctl.Replica{SourceHost: "10.0.0.1", Received: at(200), UsesGTID: true}); err != nil {
		t.Errorf("by GTID: %v", err)
	}
}
