package mysqlctl

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Replica is what a server says of its replication (SHOW SLAVE STATUS, SHOW REPLICA STATUS).
type Replica struct {
	SourceHost string
	SourcePort int
	// SourceID is the server_id of the source; 0 before the first connection to it. MariaDB keeps the server_id of the
	// former source until it has connected to the new one.
	SourceID   uint32
	SourceUUID string // server_uuid of the source, MySQL only; "" before the first connection to it

	// IORunning and SQLRunning are the words of the server: Yes, No, Connecting, Preparing.
	IORunning, SQLRunning string
	IOError, SQLError     string // last error of the thread, empty where there is none
	IOErrno, SQLErrno     uint64 // number of that error, 0 where there is none

	// Retries is how often the I/O thread tries to connect before it gives up (SOURCE_RETRY_COUNT), RetryEvery the
	// pause between two tries. 0 retries: it goes on for ever, or the server does not say (MariaDB before 12).
	Retries    uint64
	RetryEvery time.Duration

	Drained bool // the SQL thread has read all that was received; parallel workers may still be executing it

	Lag *time.Duration // Seconds_Behind_Master; nil where the server says NULL: it does not know

	Delay time.Duration // SQL_Delay: how long a transaction waits on purpose, after the source committed it

	Received Position // how far the I/O thread has read the log of the source
	Executed Position // how far the SQL thread has executed the log of the source
	UsesGTID bool     // positions are found by GTID, not by file and offset
}

// PlaceGone says that replication has ended because the source's log does not have the place from which replication was
// to go on: that log file was purged, or the source was set up anew (error 1236; in newer versions of MySQL 13114).
func (r Replica) PlaceGone() bool { return r.IOErrno == 1236 || r.IOErrno == 13114 }

// Replica returns the state of replication, or ErrNotReplica.
func (s *Server) Replica(ctx context.Context) (Replica, error) {
	rows, err := s.ask(ctx, func(f flavour) statement { return f.showReplica(s.cfg.Channel) })
	return readReplica(s.cfg, rows, err)
}

// readReplica makes sense of the answer to showReplica.
func readReplica(cfg Config, rows []row, err error) (Replica, error) {
	if err != nil {
		return Replica{}, noChannel(err)
	}
	for _, r := range rows {
		// MySQL lists all channels where none is named; the default one has no name. MariaDB has no such column.
		if name, ok := r["Channel_Name"]; ok && name != cfg.Channel {
			continue
		}
		rep, err := parseReplica(r)
		if err != nil {
			return Replica{}, fmt.Errorf("read the state of replication on %s: %w", cfg.Addr, err)
		}
		if rep.SourceHost == "" {
			break
		}
		return rep, nil
	}
	return Replica{}, fmt.Errorf("read the state of replication on %s: %w", cfg.Addr, ErrNotReplica)
}

// noChannel adds ErrNotReplica to the errors of servers on which the channel, or replication at all, is not set up.
func noChannel(err error) error {
	if isServerError(err, errNoConnectionName, errNoChannel, errNotConfigured) {
		return fmt.Errorf("%w: %w", ErrNotReplica, err)
	}
	return err
}

func parseReplica(r row) (rep Replica, err error) {
	get := func(names ...string) string { v, _ := r.any(names...); return v }
	rep.SourceHost = get("Source_Host", "Master_Host")
	rep.IORunning = get("Replica_IO_Running", "Slave_IO_Running")
	rep.SQLRunning = get("Replica_SQL_Running", "Slave_SQL_Running")
	rep.IOError = r["Last_IO_Error"]
	rep.SQLError = r["Last_SQL_Error"]
	// "Slave has read all relay log; waiting for more updates", and later wordings ("Replication SQL Thread States" in
	// both manuals).
	rep.Drained = strings.Contains(get("Replica_SQL_Running_State", "Slave_SQL_Running_State"),
		"has read all relay log")
	// Using_Gtid is MariaDB's (No, Slave_Pos, Current_Pos), Auto_Position MySQL's (0, 1).
	rep.UsesGTID = r["Auto_Position"] == "1" || (r["Using_Gtid"] != "" && r["Using_Gtid"] != "No")

	number := func(names ...string) (n uint64) {
		if text := get(names...); text != "" && err == nil {
			if n, err = strconv.ParseUint(text, 10, 64); err != nil {
				err = fmt.Errorf("read %s: %w", names[0], err)
			}
		}
		return n
	}
	rep.IOErrno, rep.SQLErrno = number("Last_IO_Errno"), number("Last_SQL_Errno")
	rep.SourceID = uint32(number("Source_Server_Id", "Master_Server_Id"))
	rep.SourceUUID = get("Source_UUID", "Master_UUID")
	rep.Retries = number("Source_Retry_Count", "Master_Retry_Count")
	rep.Delay = time.Duration(number("SQL_Delay")) * time.Second
	rep.RetryEvery = time.Duration(number("Connect_Retry")) * time.Second
	if err != nil {
		return Replica{}, err
	}
	if rep.SourcePort, err = strconv.Atoi(get("Source_Port", "Master_Port")); err != nil {
		return Replica{}, fmt.Errorf("read the port of the source: %w", err)
	}
	if lag, ok := r.any("Seconds_Behind_Source", "Seconds_Behind_Master"); ok {
		seconds, err := strconv.ParseInt(lag, 10, 64)
		if err != nil {
			return Replica{}, fmt.Errorf("read the seconds behind the source: %w", err)
		}
		d := time.Duration(seconds) * time.Second
		rep.Lag = &d
	}
	rep.Received, err = position(get("Source_Log_File", "Master_Log_File"),
		get("Read_Source_Log_Pos", "Read_Master_Log_Pos"))
	if err != nil {
		return Replica{}, err
	}
	rep.Executed, err = position(get("Relay_Source_Log_File", "Relay_Master_Log_File"),
		get("Exec_Source_Log_Pos", "Exec_Master_Log_Pos"))
	if err != nil {
		return Replica{}, err
	}
	return rep, nil
}
