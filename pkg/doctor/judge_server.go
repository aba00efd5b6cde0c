package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
)

// enoughRetries is for how long a slave has to try to connect to its source again, in seconds.
const enoughRetries = 24 * 3600

// servers judges the servers that could be asked, each and all together.
func (j *judge) servers() {
	var asked []config.Host
	for _, h := range j.facts.Config.Hosts {
		if j.setup(h.Name) != nil {
			asked = append(asked, h)
		}
	}
	for i, h := range asked {
		s := j.setup(h.Name)
		j.server(h, s)
		for _, o := range asked[:i] {
			j.pair(h, s, o, j.setup(o.Name))
		}
		if j.facts.Hosts[h.Name].Server.Err == nil { // after an error what Setup says of replication may be missing
			j.replication(h, s)
		}
	}
	j.alike(asked)
}

// alike judges what all servers must have in common. The findings name the servers that differ from most others.
func (j *judge) alike(asked []config.Host) {
	makes := odd(asked, func(h config.Host) (bool, bool) { return j.setup(h.Name).MySQL, true })
	for name, usual := range makes {
		s, t := j.setup(name), j.setup(usual)
		j.add(Error, "server-mixed", name, "use MySQL on all hosts, or MariaDB on all",
			"its server is %s, that of %s %s: MySQL and MariaDB don't replicate from each other for long", s.Version,
			usual, t.Version)
	}
	if len(makes) > 0 {
		return
	}
	for name, usual := range odd(asked, func(h config.Host) (string, bool) { return j.setup(h.Name).GTIDMode, true }) {
		s, t := j.setup(name), j.setup(usual)
		j.add(Error, "gtid-mode", name, mycnf(name, fmt.Sprintf("gtid_mode = %s, enforce_gtid_consistency = %[1]s",
			t.GTIDMode)), "its gtid_mode is %s, that of %s %s", s.GTIDMode, usual, t.GTIDMode)
	}
	words := map[bool]string{true: "by GTID", false: "by file and position"}
	for name, usual := range odd(asked, func(h config.Host) (bool, bool) {
		r := j.setup(h.Name).Replica
		return r != nil && r.UsesGTID, r != nil
	}) {
		on, s := name, j.setup(name)
		if s.Replica.UsesGTID {
			on, s = usual, j.setup(usual)
		}
		h, _ := j.facts.Config.Host(on)
		j.add(Warning, "gtid-mode", name, fmt.Sprintf("use GTIDs on all; on %s: %s", on,
			s.UseGTIDText(h.ReplicationChannel)),
			"it replicates %s, %s %s", words[j.setup(name).Replica.UsesGTID], usual,
			words[j.setup(usual).Replica.UsesGTID])
	}
}

// odd returns the hosts whose value is not the most common one, each with a host that has the most common value. Of
// several values that are equally common the first host's counts as the most common.
func odd[T comparable](hosts []config.Host, of func(config.Host) (value T, ok bool)) map[string]string {
	count, first := map[T]int{}, map[T]string{}
	for _, h := range hosts {
		if v, ok := of(h); ok {
			if first[v] == "" {
				first[v] = h.Name
			}
			count[v]++
		}
	}
	var most T
	found := false
	for _, h := range hosts {
		if v, ok := of(h); ok && (!found || count[v] > count[most]) {
			most, found = v, true
		}
	}
	others := map[string]string{}
	for _, h := range hosts {
		if v, ok := of(h); ok && v != most {
			others[h.Name] = first[most]
		}
	}
	return others
}

func (j *judge) setup(host string) *mysqlctl.Setup { return j.facts.Hosts[host].Server.Setup }

// mycnf is a remedy: lines that a server's option file must have.
func mycnf(host, lines string) string {
	return fmt.Sprintf("my.cnf of %s, [mysqld]: %s; then restart the server", host, lines)
}

// dynamic is a remedy: how variables are set in a running server, and in its option file for the time after a restart.
func dynamic(host string, assignments ...string) string { return dynamicThen(host, "", assignments...) }

// dynamicThen is a remedy as dynamic, with statements to execute once the variables are set, each with "; " behind it.
func dynamicThen(host, then string, assignments ...string) string {
	return fmt.Sprintf("on %s: SET GLOBAL %s; %sand in its my.cnf: %s", host, strings.Join(assignments, ", GLOBAL "), then,
		strings.Join(assignments, ", "))
}

// server judges one server by itself.
func (j *judge) server(h config.Host, s *mysqlctl.Setup) {
	if !s.Supported {
		j.add(Warning, "server-version", h.Name, "update it to MySQL 5.7, MariaDB 10.2 or later",
			"its server %s is older than what this program was written for", s.Version)
	} else {
		j.ok("server-version", h.Name, "its server is %s", s.Version)
	}
	if s.ServerID == 0 {
		j.add(Error, "server-id", h.Name, mycnf(h.Name, fmt.Sprintf("server_id = %d", j.freeID())),
			"its server_id is 0: it can't replicate")
	}
	if h.Mode == config.Master {
		j.master(h, s)
	}
	j.readOnly(h, s)
	j.bound(h, s)
	j.events(h, s)
}

// master judges what a master needs so that other hosts can replicate from it.
func (j *judge) master(h config.Host, s *mysqlctl.Setup) {
	if !s.LogBin {
		j.add(Error, "log-bin", h.Name, mycnf(h.Name, "log_bin = mysql-bin"),
			"it writes no binary log: nobody can replicate from it")
	}
	if !s.LogSlaveUpdates {
		j.add(Error, "log-slave-updates", h.Name, mycnf(h.Name, "log_slave_updates = 1"),
			"it does not log what it replicates: slaves would miss what the other master wrote")
	}
	if s.AutoIncrementIncrement < 2 {
		j.add(Warning, "auto-increment", h.Name, dynamic(h.Name, "auto_increment_increment = 2"),
			"its auto_increment_increment is %d: both masters give out the same ids", s.AutoIncrementIncrement)
	} else if s.AutoIncrementOffset > s.AutoIncrementIncrement {
		j.add(Warning, "auto-increment", h.Name, dynamic(h.Name,
			fmt.Sprintf("auto_increment_offset = %d", j.offset(h))),
			"its auto_increment_offset %d is above its auto_increment_increment %d, and ignored", s.AutoIncrementOffset,
			s.AutoIncrementIncrement)
	}
	if len(j.candidates()) > 1 {
		j.semiSync(h, s)
	}
}

// semiSync judges whether a master waits for its peer's acknowledgement, and acknowledges what the peer commits. An I/O
// thread acknowledges only if it was started when the variable was on. So it is stopped and started where it runs; one
// that was stopped on purpose stays so.
func (j *judge) semiSync(h config.Host, s *mysqlctl.Setup) {
	runs := s.Replica != nil && s.Replica.IORunning != "No"
	if s.SemiSyncSource && s.SemiSync {
		source, known := j.setup(j.source(h).Name), runs && s.Replica.IORunning == "Yes"
		if known && !s.Acknowledges && (source == nil || source.SemiSyncSource) {
			j.add(Warning, "semi-sync", h.Name, fmt.Sprintf("on %s: %s", h.Name, s.ReconnectText(h.ReplicationChannel)),
				"it does not acknowledge what it receives, as its I/O thread was started before %s was on",
				cmp.Or(s.SemiSyncName, "acknowledging"))
		}
		return
	}
	source, replica := "master", "slave"
	if strings.Contains(s.StartText(""), "REPLICA") {
		source, replica = "source", "replica"
	}
	enable := []string{cmp.Or(s.SemiSyncSourceName, fmt.Sprintf("rpl_semi_sync_%s_enabled", source)) + " = 1",
		cmp.Or(s.SemiSyncName, fmt.Sprintf("rpl_semi_sync_%s_enabled", replica)) + " = 1"}
	then := ""
	if !s.SemiSync && runs {
		then = s.ReconnectText(h.ReplicationChannel) + " "
	}
	mend := dynamicThen(h.Name, then, enable...)
	if s.MySQL && (s.SemiSyncSourceName == "" || s.SemiSyncName == "") {
		mend = mycnf(h.Name, fmt.Sprintf("plugin_load_add = semisync_%s.so, plugin_load_add = semisync_%s.so, %s",
			source, replica, strings.Join(enable, ", ")))
	}
	j.add(Warning, "semi-sync", h.Name, mend,
		"it does not replicate semi-synchronously: commits that it has confirmed to clients can be lost with it")
}

// readOnly judges whether a server that takes writes is the writer.
func (j *judge) readOnly(h config.Host, s *mysqlctl.Setup) {
	writer := j.writer()
	switch {
	case s.ReadOnly || writer == h.Name:
		j.ok("read-only", h.Name, "it is read-only, or the writer")
		return
	}
	severity, why := Warning, "no host is known to be the writer"
	if writer != "" {
		why = "the writer is " + writer
		if h.Mode == config.Master {
			severity = Error
		}
	}
	j.add(severity, "read-only", h.Name, dynamic(h.Name, "read_only = 1"), "its server takes writes, and %s", why)
}

// pair judges what two servers must, or must not, have in common.
func (j *judge) pair(h config.Host, s *mysqlctl.Setup, o config.Host, t *mysqlctl.Setup) {
	if s.ServerID == t.ServerID && s.ServerID != 0 {
		j.add(Error, "server-id", h.Name, mycnf(h.Name, fmt.Sprintf("server_id = %d", j.freeID())),
			"its server_id %d is that of %s too: they can't replicate from each other", s.ServerID, o.Name)
	}
	if s.UUID != "" && s.UUID == t.UUID {
		j.add(Error, "server-uuid", h.Name,
			fmt.Sprintf("on %s: stop the server, remove auto.cnf from its datadir, start it", h.Name),
			"its server_uuid is that of %s too: its data were copied with auto.cnf", o.Name)
	}
	if h.Mode != config.Master || o.Mode != config.Master || h.Peer != o.Name {
		return
	}
	if s.AutoIncrementIncrement != t.AutoIncrementIncrement &&
		min(s.AutoIncrementIncrement, t.AutoIncrementIncrement) > 1 {
		j.add(Warning, "auto-increment", h.Name, dynamic(h.Name,
			fmt.Sprintf("auto_increment_increment = %d", t.AutoIncrementIncrement)),
			"its auto_increment_increment is %d, that of %s %d", s.AutoIncrementIncrement, o.Name,
			t.AutoIncrementIncrement)
	}
	if s.AutoIncrementOffset == t.AutoIncrementOffset {
		j.add(Warning, "auto-increment", h.Name, dynamic(h.Name,
			fmt.Sprintf("auto_increment_offset = %d", j.offset(h))),
			"its auto_increment_offset %d is that of %s too: they give out the same ids", s.AutoIncrementOffset, o.Name)
	}
}

// offset is the auto_increment_offset of a master: 1 for the first of a pair, 2 for the other.
func (j *judge) offset(h config.Host) int {
	if h.Name < h.Peer {
		return 1
	}
	return 2
}

// freeID is a server_id that no server has.
func (j *judge) freeID() uint32 {
	for id := uint32(1); ; id++ {
		if !slices.ContainsFunc(j.facts.Config.Hosts,
			func(h config.Host) bool { s := j.setup(h.Name); return s != nil && s.ServerID == id }) {
			return id
		}
	}
}

// replication judges whether a server replicates, and from whom.
func (j *judge) replication(h config.Host, s *mysqlctl.Setup) {
	source := j.source(h)
	follow := fmt.Sprintf("on %s, once it has the data of %s: %s", h.Name, source.Name,
		s.FollowText(h.ReplicationChannel, source.IP.String(), source.MySQLPort, j.byGTID(s)))
	r := s.Replica
	if from := j.embargo(h); from != "" && (r == nil || r.IORunning == "No") {
		j.add(Note, "replication-embargo", h.Name, "mmm_control show; it ends by itself when the log of "+from+
			" has nothing that others lack",
			"it replicates nothing from %s, which was the writer, until the log of that host has been looked at", from)
		return
	}
	if r == nil {
		j.add(Error, "replication-missing", h.Name, follow, "it does not replicate; it is to replicate from %s",
			source.Name)
		return
	}
	from := j.from(r)
	if from.Name != source.Name && !(h.Mode == config.Slave && j.writer() == "" && from.Mode == config.Master) {
		if h.Mode == config.Slave && from.Mode == config.Master && j.facts.Monitor.Running {
			follow = "mmm_control show says why its agent does not move it; else " + follow
		}
		who := ""
		if from.Name != "" {
			who = " (" + from.Name + ")"
		}
		j.add(Error, "replication-source", h.Name, follow,
			"it replicates from %s:%d%s; it is to replicate from %s (%s:%d)",
			r.SourceHost, r.SourcePort, who, source.Name, source.IP, source.MySQLPort)
	}
	j.threads(h, s)
	if s.RetryCount > 0 && s.RetryPause > 0 && s.RetryCount*s.RetryPause < enoughRetries {
		j.add(Warning, "replication-retry", h.Name, fmt.Sprintf("on %s: %s", h.Name, s.RetryText(h.ReplicationChannel)),
			"it gives up on a source that it can't reach after %d attempts, %d s apart", s.RetryCount, s.RetryPause)
	}
}

// byGTID says whether a server is to replicate by GTID: as it does now, or, where it does not replicate, as most others
// do.
func (j *judge) byGTID(s *mysqlctl.Setup) bool {
	if s.Replica != nil {
		return s.Replica.UsesGTID
	}
	by := map[bool]int{}
	for _, h := range j.facts.Config.Hosts {
		if o := j.setup(h.Name); o != nil && o.Replica != nil {
			by[o.Replica.UsesGTID]++
		}
	}
	if by[true] == by[false] {
		return !s.MySQL || s.GTIDMode == "ON"
	}
	return by[true] > by[false]
}

// embargo names the former writer from which a host must not replicate before the audit of that one's log; "" for none.
func (j *judge) embargo(h config.Host) string {
	if e := j.exam(h.Name); e != nil && e.Embargo != "" {
		return e.Embargo
	}
	if j.facts.Monitor.View != nil {
		for _, o := range j.facts.Monitor.View.Hosts {
			if o.Audit != nil && o.Name == h.Peer {
				return o.Name
			}
		}
	}
	return ""
}

// threads judges whether replication runs.
func (j *judge) threads(h config.Host, s *mysqlctl.Setup) {
	r := s.Replica
	var errs []string
	for _, e := range []string{r.IOError, r.SQLError} {
		if e = strings.Join(strings.Fields(e), " "); e != "" {
			errs = append(errs, fmt.Sprintf("%.200s", e))
		}
	}
	switch {
	case r.IORunning == "Yes" && r.SQLRunning == "Yes":
		j.ok("replication-stopped", h.Name, "it replicates from %s", r.SourceHost)
	case j.state(h.Name) == cluster.AdminOffline:
		j.add(Note, "replication-stopped", h.Name, "mmm_control set_online "+h.Name,
			"its replication is stopped, as it is ADMIN_OFFLINE")
	case s.NotStarted() != "":
		option := s.NotStarted()
		j.add(Error, "replication-stopped", h.Name, fmt.Sprintf("on %s: %s and take %s out of its my.cnf", h.Name,
			s.StartText(h.ReplicationChannel), option),
			"its replication was not started with the server, as by %s", option)
	case len(errs) > 0:
		j.add(Error, "replication-stopped", h.Name, fmt.Sprintf("mend the cause of the error, then on %s: %s", h.Name,
			s.StartText(h.ReplicationChannel)), "its replication does not run: %s", strings.Join(errs, "; "))
	default:
		j.add(Error, "replication-stopped", h.Name, fmt.Sprintf("on %s: %s", h.Name, s.StartText(h.ReplicationChannel)),
			"its replication does not run (receiving: %s, executing: %s)", r.IORunning, r.SQLRunning)
	}
}

// source is the host from which h is to replicate: the peer of a master, for a slave the writer, or the first master if
// no host is known to be the writer.
func (j *judge) source(h config.Host) config.Host {
	name := h.Peer
	if h.Mode == config.Slave {
		if name = j.writer(); name == "" || name == h.Name {
			i := slices.IndexFunc(j.facts.Config.Hosts, func(h config.Host) bool { return h.Mode == config.Master })
			return j.facts.Config.Hosts[max(i, 0)]
		}
	}
	source, _ := j.facts.Config.Host(name)
	return source
}

// from is the host that a server replicates from, by whatever address or name. It has no Name where the source is no
// host of the configuration, as far as is known.
func (j *judge) from(r *mysqlctl.Replica) config.Host {
	known := identity.Known{Resolved: j.facts.Resolved}
	for _, h := range j.facts.Config.Hosts {
		i := identity.Host{Name: h.Name, IP: h.IP, Port: h.MySQLPort}
		if s := j.setup(h.Name); s != nil {
			i.ID, i.UUID = s.ServerID, s.UUID
		}
		known.Hosts = append(known.Hosts, i)
	}
	name, _ := known.Of(identity.SourceOf(*r))
	h, _ := j.facts.Config.Host(name)
	return h
}
