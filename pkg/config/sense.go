package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// This file is about values that can be read, but can't work, or not in the way that they seem to.

// Limits of the servers in CHANGE MASTER and CHANGE REPLICATION SOURCE. A configuration does not say which server it is
// for: what no server takes is an error, and what only MariaDB takes is a warning.
const (
	passwordOfMySQL   = 32 // bytes
	passwordOfMariaDB = 96
	userOfMySQL       = 32 // characters
	userOfMariaDB     = 128
	channelOfMySQL    = 64
	channelOfMariaDB  = 191 // bytes
)

// maxInterface is what the kernel leaves of IFNAMSIZ for the name of an interface.
const maxInterface = 15

func (m *model) validateSense() {
	m.validateSameHost()
	for _, s := range m.all("host") {
		m.validateHostAddress(s)
		m.validateInterface(s)
		m.validateReplication(s)
	}
	for _, s := range m.all("role") {
		for _, ip := range get[[]netip.Addr](s, "ips") {
			if why := notForHosts(ip); why != "" {
				m.errs.add(s.where("ips"), "ip %s of %s is %s; give an unused address of the hosts' network", ip,
					s.label(), why)
			}
		}
	}
	m.validateChecks()
	m.validateThis()
	m.validateLog()
}

// validateSameHost: two hosts can't have the same database server, nor the same agent.
func (m *model) validateSameHost() {
	type place struct {
		ip   netip.Addr
		port int
	}
	for _, variable := range []string{"mysql_port", "agent_port"} {
		taken := map[place]*section{}
		for _, s := range m.all("host") {
			at := place{get[netip.Addr](s, "ip"), get[int](s, variable)}
			if !at.ip.IsValid() || at.port == 0 {
				continue
			}
			if other := taken[at]; other != nil && !(variable == "agent_port" && sameServer(s, other)) {
				m.errs.add(s.where("ip"), "%s has the ip and %s of %s, %s; give each host its own address",
					s.label(), variable, other.label(), netip.AddrPortFrom(at.ip, uint16(at.port)))
				continue
			}
			taken[at] = s
		}
	}
}

// sameServer tells whether two hosts with one ip have the same server too. Then the error has been reported already.
func sameServer(a, b *section) bool { return get[int](a, "mysql_port") == get[int](b, "mysql_port") }

// notForHosts says why an address can't be that of one host; "" where it can.
func notForHosts(ip netip.Addr) string {
	switch {
	case ip.IsUnspecified():
		return "no address of anybody"
	case ip.IsLoopback():
		return "a loopback address, which every host has"
	case ip.IsMulticast():
		return "a multicast address"
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address"
	case ip.Zone() != "":
		return "an address with a zone, which means something on one host only"
	}
	return ""
}

// validateHostAddress accepts a loopback address, and an address with a zone: a cluster on one machine may have them.
func (m *model) validateHostAddress(s *section) {
	ip := get[netip.Addr](s, "ip")
	if why := notForHosts(ip); ip.IsValid() && why != "" && !ip.IsLoopback() && ip.Zone() == "" {
		m.errs.add(s.where("ip"), "ip %s of %s is %s; give the host's own address", ip, s.label(), why)
	}
}

func (m *model) validateInterface(s *section) {
	name := get[string](s, "cluster_interface")
	what := ""
	switch {
	case strings.ContainsAny(name, ","+blanks):
		what = "takes the name of one interface, the one that gets the virtual addresses; remove the others"
	case len(name) > maxInterface || strings.ContainsRune(name, '/'):
		what = fmt.Sprintf("is no name of an interface, which has up to %d characters; ip -br link shows them",
			maxInterface)
	default:
		return
	}
	// The message names no host, so that a wrong value in <host default> is one error, not one for each host.
	m.errs.add(s.where("cluster_interface"), "'cluster_interface' %s, not %q", what, name)
}

// validateReplication reports now what a server would refuse when slaves are to follow a new writer.
func (m *model) validateReplication(s *section) {
	password, user := get[Secret](s, "replication_password").Reveal(), get[string](s, "replication_user")
	channel := get[string](s, "replication_channel")
	m.limit(s, "replication_password", "bytes", len(password), passwordOfMySQL, passwordOfMariaDB)
	m.limit(s, "replication_user", "characters", utf8.RuneCountInString(user), userOfMySQL, userOfMariaDB)
	m.limit(s, "replication_channel", "bytes", len(channel), channelOfMySQL, channelOfMariaDB)
}

func (m *model) limit(s *section, variable, of string, length, mysql, mariaDB int) {
	switch {
	case length > mariaDB:
		m.errs.add(s.where(variable),
			"'%s' has %d %s, but replication takes at most %d (MySQL: %d); choose a shorter one",
			variable, length, of, mariaDB, mysql)
	case length > mysql:
		m.warnings.add(s.where(variable),
			"'%s' has %d %s: MySQL takes at most %d, so slaves could not follow a new writer there",
			variable, length, of, mysql)
	}
}

// validateChecks tells of variables that only one check reads.
func (m *model) validateChecks() {
	for _, s := range m.all("check") {
		for _, variable := range []string{"max_backlog", "heartbeat_table"} {
			if n, set := s.raw[variable]; set && s.name != "rep_backlog" {
				m.warnings.add(n.at, "'%s' has no effect in %s; write it in %s", variable, s.label(),
					n.at.notation().section("check", "rep_backlog"))
			}
		}
	}
}

// validateLog warns that log_timestamps has no effect on a log in JSON, whose times always have their zone.
func (m *model) validateLog() {
	top := m.unique("")
	n, set := top.raw["log_timestamps"]
	if set && get[string](top, "log_format") == "json" && get[string](top, "log_timestamps") == "classic" {
		m.warnings.add(n.at,
			"'log_timestamps' has no effect where 'log_format' is json: its times have their zone; remove it")
	}
}

// validateThis: the last 'this' counts, as in the original, so that a host's own file can overrule a file that it
// includes. Several of them in one file are an error: 'this' is not the list of all hosts.
func (m *model) validateThis() {
	if m.program != Agent {
		return
	}
	var others []string
	for _, n := range m.these {
		last := m.these[len(m.these)-1]
		if n.value != last.value && n.at.file == last.at.file && !slices.Contains(others, n.value) {
			others = append(others, n.value)
		}
	}
	if others != nil {
		last := m.these[len(m.these)-1]
		m.errs.add(last.at, "'this' is set to %s and %s; it names the host that the file is on: keep that one",
			strings.Join(others, ", "), last.value)
	}
}
