package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Purpose is what an account of MMM is for.
type Purpose uint8

// The accounts of MMM.
const (
	ForMonitor     Purpose = iota
	ForAgent               // of the agent, on its own host's server
	ForNeighbour           // of the agents of the other hosts, which ask this server
	ForReplication         // of the replicas that read this server's binary log
)

// needs lists what the account has to be allowed.
func (p Purpose) needs() []need {
	switch p {
	case ForMonitor:
		return []need{seePosition, seeReplica}
	case ForAgent:
		return []need{seeProcesses, killOthers, setReadOnly, seePosition, seeReplica, seeEvents, runReplica}
	case ForNeighbour:
		return []need{seePosition, seeReplica, seeEvents}
	case ForReplication:
		return nil // REPLICATION SLAVE, on all servers
	}
	panic(fmt.Sprintf("impossible purpose %d", p))
}

// privileges are the names of what the account has to be allowed on this server, each once.
func (f flavour) privileges(p Purpose) []string {
	if p == ForReplication {
		return []string{"REPLICATION SLAVE"}
	}
	var names []string
	for _, n := range p.needs() {
		for name := range strings.SplitSeq(f.grant(n), ", ") {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// MissingGrant compares what the user of this Server may do with what the purpose needs, and returns the GRANT for what
// is missing; "" where nothing is. Privileges that come by way of an SQL role count as far as SHOW GRANTS lists them.
func (s *Server) MissingGrant(ctx context.Context, p Purpose) (string, error) {
	var f flavour
	rows, err := s.ask(ctx, func(now flavour) statement { f = now; return now.showGrants() })
	if err != nil {
		return "", err
	}
	who, err := s.ask(ctx, flavour.showUser)
	if err != nil {
		return "", err
	}
	if len(who) != 1 {
		return "", fmt.Errorf("ask for the user on %s: %w", s.cfg.Addr, errNonsense)
	}
	missing := f.missing(grants(rows), p)
	if len(missing) == 0 {
		return "", nil
	}
	user, host, _ := cutLast(who[0]["user"], "@")
	return fmt.Sprintf("GRANT %s ON *.* TO '%s'@'%s'", strings.Join(missing, ", "), user, host), nil
}

func (f flavour) showGrants() statement { return statement{what: "show grants", sql: "SHOW GRANTS"} }

func (f flavour) showUser() statement {
	return statement{what: "ask for the user", sql: "SELECT CURRENT_USER() AS user"}
}

// grants reads the privileges on *.* from SHOW GRANTS, whose only column has a name of its own for each user.
func grants(rows []row) []string {
	var have []string
	for _, r := range rows {
		for _, line := range r {
			list, _, global := strings.Cut(strings.TrimPrefix(line, "GRANT "), " ON *.* TO ")
			if !global {
				continue
			}
			for name := range strings.SplitSeq(list, ",") {
				have = append(have, strings.ToUpper(strings.TrimSpace(name)))
			}
		}
	}
	return have
}

// missing lists the privileges that the purpose needs and the user does not have.
func (f flavour) missing(have []string, p Purpose) []string {
	return slices.DeleteFunc(f.privileges(p), func(want string) bool {
		return slices.ContainsFunc(f.includedIn(want), func(name string) bool { return slices.Contains(have, name) })
	})
}

// includedIn names the privileges of which each one is enough for want: want under its newer name, and wider ones.
func (f flavour) includedIn(want string) []string {
	names := []string{want, "ALL PRIVILEGES", "ALL"}
	if f.dialect == mariaDB {
		switch want {
		case "BINLOG MONITOR":
			names = append(names, "REPLICATION CLIENT")
		case "SLAVE MONITOR":
			names = append(names, "REPLICA MONITOR")
		case "REPLICATION SLAVE ADMIN":
			names = append(names, "REPLICATION REPLICA ADMIN")
		case "REPLICATION SLAVE":
			names = append(names, "REPLICATION REPLICA")
		}
		switch {
		// SUPER never included the first two. From 11.0.1 on it includes none of the privileges that were split off it,
		// and from 10.11 on not READ_ONLY ADMIN.
		case want == "PROCESS", want == "REPLICATION SLAVE", f.atLeast(11, 0, 1):
		case want == "READ_ONLY ADMIN" && f.atLeast(10, 11, 0):
		default:
			names = append(names, "SUPER")
		}
		return names
	}
	switch want {
	case "CONNECTION_ADMIN", "SYSTEM_VARIABLES_ADMIN", "REPLICATION_SLAVE_ADMIN":
		names = append(names, "SUPER")
	case "REPLICATION CLIENT":
		names = append(names, "SUPER")
	}
	return names
}

// Setup is how a server is set up, as far as it matters to MMM.
type Setup struct {
	Version   string // as the server gives it
	MySQL     bool   // else MariaDB
	Supported bool   // MySQL from 5.7 on, MariaDB from 10.2 on: the versions whose words this program knows

	ServerID        uint32
	UUID            string // MySQL only
	LogBin          bool
	LogSlaveUpdates bool

	AutoIncrementIncrement, AutoIncrementOffset int

	ReadOnly     bool
	GTIDMode     string // MySQL's gtid_mode: ON, ON_PERMISSIVE, OFF_PERMISSIVE, OFF; "" on MariaDB
	GTIDPosition string // MariaDB: gtid_slave_pos, the place from which replication by GTID goes on
	SkipStart    bool   // replication does not start with the server; MariaDB does not tell

	// Semi-synchronous replication: whether the variables are on that make the server wait for acknowledgements as a
	// source, and give them as a replica, and what the server calls these variables ("" where it lacks the plugin).
	SemiSyncSource, SemiSync         bool
	SemiSyncSourceName, SemiSyncName string
	// The server does acknowledge what it receives: its I/O thread was started with the variable on, and its source has
	// the plugin.
	Acknowledges bool

	BindAddress string // bind_address; "" or * is every address

	EventScheduler bool // it is on
	Events         []Event
	EventGrant     string // the GRANT without which this user does not see all events; "" where it sees them

	Replica    *Replica // nil where replication is not set up
	SourceUser string   // the account with which this server logs in to its source
	RetryCount int64    // how often a lost source is tried again; 0 is for ever, -1 where the server does not say
	RetryPause int64    // seconds between two tries; 0 where it can't be read
}

// Setup asks the server how it is set up. The user needs the privileges of ForMonitor.
func (s *Server) Setup(ctx context.Context) (Setup, error) {
	v, err := s.variables(ctx, "version", "version_comment", "server_id", "server_uuid", "log_bin", "log_slave_updates",
		"log_replica_updates",
		"auto_increment_increment", "auto_increment_offset", "read_only", "super_read_only", "gtid_mode",
		"gtid_slave_pos", "skip_slave_start", "skip_replica_start", "bind_address", "event_scheduler",
		"rpl_semi_sync_master_enabled", "rpl_semi_sync_slave_enabled", "rpl_semi_sync_source_enabled",
		"rpl_semi_sync_replica_enabled")
	if err != nil {
		return Setup{}, err
	}
	set, err := readSetup(v)
	if err != nil {
		return Setup{}, fmt.Errorf("read the variables of %s: %w", s.cfg.Addr, err)
	}
	status, err := s.ask(ctx, flavour.showRunning)
	if err != nil {
		return set, err
	}
	set.Acknowledges = acknowledges(pairs(status))
	if set.Events, set.EventGrant, err = s.events(ctx); err != nil {
		return set, err
	}
	rows, err := s.ask(ctx, func(f flavour) statement { return f.showReplica(s.cfg.Channel) })
	r, err := readReplica(s.cfg, rows, err)
	switch {
	case errors.Is(err, ErrNotReplica):
		return set, nil
	case err != nil:
		return set, err
	}
	set.Replica = &r
	set.readRetries(s.cfg.Channel, rows)
	return set, nil
}

// readRetries reads what Replica does not hold: the account, and how a lost source is tried again.
func (s *Setup) readRetries(channel string, rows []row) {
	s.RetryCount = -1
	for _, r := range rows {
		if name, ok := r["Channel_Name"]; ok && name != channel {
			continue
		}
		s.SourceUser, _ = r.any("Source_User", "Master_User")
		if text, ok := r.any("Source_Retry_Count", "Master_Retry_Count"); ok {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				s.RetryCount = n
			}
		}
		s.RetryPause, _ = strconv.ParseInt(r["Connect_Retry"], 10, 64)
	}
}

func readSetup(v map[string]string) (Setup, error) {
	updates, _ := row(v).any("log_replica_updates", "log_slave_updates")
	source := row(v).known("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled")
	replica := row(v).known("rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled")
	f := detect(v["version"], v["version_comment"])
	set := Setup{
		Version: v["version"], MySQL: f.dialect != mariaDB, UUID: v["server_uuid"],
		LogBin: isOn(v["log_bin"]), LogSlaveUpdates: isOn(updates),
		ReadOnly: !isOff(v["read_only"]) || !isOff(v["super_read_only"]),
		GTIDMode: v["gtid_mode"], GTIDPosition: v["gtid_slave_pos"], BindAddress: v["bind_address"],
		EventScheduler: isOn(v["event_scheduler"]), SemiSyncSource: isOn(v[source]), SemiSync: isOn(v[replica]),
		SemiSyncSourceName: source, SemiSyncName: replica,
	}
	skip, _ := row(v).any("skip_replica_start", "skip_slave_start")
	set.SkipStart = isOn(skip)
	set.Supported = f.atLeast(10, 2, 0)
	if set.MySQL {
		skip, _ := row(v).any("skip_replica_start", "skip_slave_start")
		set.SkipStart = isOn(skip)
		set.Supported = f.atLeast(5, 7, 0)
	}
	id, err1 := strconv.ParseUint(v["server_id"], 10, 32)
	set.ServerID = uint32(id)
	var err2, err3 error
	set.AutoIncrementIncrement, err2 = strconv.Atoi(v["auto_increment_increment"])
	set.AutoIncrementOffset, err3 = strconv.Atoi(v["auto_increment_offset"])
	return set, errors.Join(err1, err2, err3)
}

// Privileges names the smallest privileges that an account for the purpose needs on a server of that version
// (Setup.Version).
func Privileges(version string, p Purpose) []string { return detect(version, "").privileges(p) }
