package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Survey is what a server says of its settings and of its replication, as far as it matters to the other hosts.
type Survey struct {
	Settings Settings
	SemiSync SemiSync
	Replica  *Replica // nil: the server replicates from nobody, or does not tell this user

	Uptime time.Duration // since the server's start, rounded down to whole seconds; 0 also where it does not say
}

// Settings are the variables that must suit each other between hosts.
type Settings struct {
	Version         string // as the server gives it
	Dialect         string // MariaDB, MySQL (SLAVE), MySQL (REPLICA)
	MariaDB         bool   // else MySQL
	ServerID        uint32
	LogBin          bool
	LogSlaveUpdates bool
	GTIDMode        string // MySQL: gtid_mode; MariaDB, where there always are GTIDs: gtid_strict_mode

	AutoIncrementIncrement, AutoIncrementOffset int

	UUID string // server_uuid, MySQL only
}

// SemiSync is semi-synchronous replication ("Semisynchronous Replication" in both manuals): the source's half, and
// the replica's.
type SemiSync struct {
	Enabled bool // the server is set up to wait for acknowledgements; false also where the plugin is missing
	Waiting bool // the server does wait now: it has not fallen back to asynchronous replication
	Clients int  // how many connected replicas acknowledge
	Acks    bool // as a replica, the server acknowledges what it receives
}

// Survey asks for all of it within the Timeout, with the kept connection as in Ping. It needs no privilege; without the
// one to see replication, Replica is nil.
func (c *Conn) Survey(ctx context.Context) (Survey, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	rows, err := c.ask(ctx, func(f flavour) statement {
		return f.showVariables("version", "version_comment", "server_id", "server_uuid", "log_bin", "log_slave_updates",
			"log_replica_updates", "gtid_mode",
			"gtid_strict_mode", "auto_increment_increment", "auto_increment_offset", "rpl_semi_sync_master_enabled",
			"rpl_semi_sync_source_enabled")
	})
	if err != nil {
		return Survey{}, err
	}
	variables := pairs(rows)
	if rows, err = c.ask(ctx, flavour.showRunning); err != nil {
		return Survey{}, err
	}
	s, err := readSurvey(variables, pairs(rows))
	if err != nil {
		return Survey{}, fmt.Errorf("survey %s: %w", c.cfg.Addr, err)
	}
	switch r, err := c.Replica(ctx); {
	case err == nil:
		s.Replica = &r
	case !errors.Is(err, ErrNotReplica) && !IsMissingPrivilege(err):
		return Survey{}, err
	}
	return s, nil
}

// readSurvey makes sense of variables and status; what the server does not know is missing in them.
func readSurvey(variables, status row) (Survey, error) {
	get := func(r row, names ...string) string { v, _ := r.any(names...); return v }
	var s Survey
	d := detect(variables["version"], variables["version_comment"]).dialect
	s.Settings.Version, s.Settings.Dialect, s.Settings.MariaDB = variables["version"], d.String(), d == mariaDB
	s.Settings.UUID = variables["server_uuid"]
	s.Settings.LogBin = isOn(variables["log_bin"])
	s.Settings.LogSlaveUpdates = isOn(get(variables, "log_replica_updates", "log_slave_updates"))
	s.Settings.GTIDMode = get(variables, "gtid_mode", "gtid_strict_mode")
	s.SemiSync.Enabled = isOn(get(variables, "rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"))
	s.SemiSync.Acks = acknowledges(status)
	s.SemiSync.Waiting = isOn(get(status, "Rpl_semi_sync_source_status", "Rpl_semi_sync_master_status"))

	id, err := strconv.ParseUint(variables["server_id"], 10, 32)
	if err != nil {
		return Survey{}, fmt.Errorf("read server_id: %w", err)
	}
	s.Settings.ServerID = uint32(id)
	if s.Settings.AutoIncrementIncrement, err = strconv.Atoi(variables["auto_increment_increment"]); err != nil {
		return Survey{}, fmt.Errorf("read auto_increment_increment: %w", err)
	}
	if s.Settings.AutoIncrementOffset, err = strconv.Atoi(variables["auto_increment_offset"]); err != nil {
		return Survey{}, fmt.Errorf("read auto_increment_offset: %w", err)
	}
	if seconds, err := strconv.ParseUint(status["Uptime"], 10, 32); err == nil {
		s.Uptime = time.Duration(seconds) * time.Second
	}
	if clients := get(status, "Rpl_semi_sync_source_clients", "Rpl_semi_sync_master_clients"); clients != "" {
		if s.SemiSync.Clients, err = strconv.Atoi(clients); err != nil {
			return Survey{}, fmt.Errorf("read the number of semi-synchronous replicas: %w", err)
		}
	}
	return s, nil
}

// acknowledges says whether a server, as a replica, acknowledges what it receives, by its answer to showRunning.
func acknowledges(status row) bool {
	v, _ := status.any("Rpl_semi_sync_replica_status", "Rpl_semi_sync_slave_status")
	return isOn(v)
}

// pairs turns an answer to SHOW VARIABLES or SHOW STATUS into one row.
func pairs(rows []row) row {
	values := make(row, len(rows))
	for _, r := range rows {
		values[r["Variable_name"]] = r["Value"]
	}
	return values
}
