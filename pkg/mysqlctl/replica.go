package mysqlctl

import (
	"context"
	"errors"
	"time"
)

// Replica is what a server says of its replication (SHOW SLAVE STATUS, SHOW REPLICA STATUS).
type Replica struct {
	SourceHost string
	SourcePort int

	// IORunning and SQLRunning are the words of the server: Yes, No, Connecting, Preparing.
	IORunning, SQLRunning string
	IOError, SQLError     string // last error of the thread, empty where there is none

	Lag *time.Duration // Seconds_Behind_Master; nil where the server says NULL: it does not know

	Received Position // how far the I/O thread has read the log of the source
	Executed Position // how far the SQL thread has executed it
	UsesGTID bool     // positions are found by GTID, not by file and offset
}

var errUnfinished = errors.New("not written yet")

// Replica returns the state of replication, or ErrNotReplica.
func (s *Server) Replica(ctx context.Context) (Replica, error) { return Replica{}, errUnfinished }
