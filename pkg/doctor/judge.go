package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/wire"
)

// Judge makes findings of facts.
func Judge(f Facts) []Finding {
	j := &judge{facts: f}
	j.configuration()
	j.monitor()
	for _, h := range f.Config.Hosts {
		j.host(h)
	}
	j.agents()
	j.addresses()
	j.servers()
	return j.findings
}

// Unusable makes findings of what keeps a configuration from being loaded.
func Unusable(err error) []Finding {
	var list []Finding
	errs, ok := errors.AsType[config.Errors](err)
	if !ok {
		return []Finding{{Severity: Error, Name: "config-invalid", Host: MonitorHost, What: err.Error()}}
	}
	for _, e := range errs {
		f := Finding{Severity: Error, Name: "config-invalid", Host: MonitorHost, What: e.Error(),
			Mend: fmt.Sprintf("correct %s, then: mmm_mond configtest", e.File)}
		if what, command, found := strings.Cut(f.What, "; run: "); found {
			f.Name, f.What, f.Mend = "config-readable", what, command
		}
		list = append(list, f)
	}
	return list
}

// passing tells that a finding may be of a cluster that is just changing: hosts are not all asked at the same moment.
func passing(f Finding) bool {
	switch f.Name {
	case "address-conflict", "address-twice", "address-stray", "address-unordered", "role-vacant", "agent-problem",
		"read-only", "event-running", "event-asleep", "replication-source", "replication-stopped":
		return f.Severity > Note
	}
	return false
}

// settled leaves out of the later findings those that may pass and were not there before. What is said of one address
// says nothing of another one, which may be on its way to the same host.
func settled(earlier, later []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(later), func(f Finding) bool {
		return passing(f) && !slices.ContainsFunc(earlier, func(e Finding) bool {
			return e.Name == f.Name && e.Host == f.Host && (e.What == f.What || !strings.HasPrefix(f.Name, "address-"))
		})
	})
}

// judge collects findings.
type judge struct {
	facts    Facts
	findings []Finding
}

func (j *judge) add(s Severity, name, host, mend, what string, args ...any) {
	j.findings = append(j.findings, Finding{Severity: s, Name: name, Host: host, What: fmt.Sprintf(what, args...),
		Mend: mend})
}

func (j *judge) ok(name, host, what string, args ...any) { j.add(OK, name, host, "", what, args...) }

// exam is what the agent of a host said; nil where it said nothing.
func (j *judge) exam(host string) *wire.Examination { return j.facts.Hosts[host].Agent.Exam }

// holders are the hosts that have an address, wherever on the host.
func (j *judge) holders(ip netip.Addr) []string {
	var names []string
	for _, h := range j.facts.Config.Hosts {
		if e := j.exam(h.Name); e != nil && has(e, ip) {
			names = append(names, h.Name)
		}
	}
	return names
}

func has(e *wire.Examination, ip netip.Addr) bool {
	return slices.ContainsFunc(e.Addresses, func(a wire.HostAddress) bool { return a.Prefix.Addr() == ip })
}

// writer is the host that has the writer's address, or has the role by the monitor's word; "" where nobody is known to.
func (j *judge) writer() string {
	role, ok := j.role(j.facts.Config.ActiveMasterRole)
	if !ok || len(role.IPs) == 0 {
		return ""
	}
	if names := j.holders(role.IPs[0]); len(names) == 1 {
		return names[0]
	}
	if j.facts.Monitor.View != nil {
		for _, r := range j.facts.Monitor.View.Roles {
			if r.Role == role.Name {
				return r.Host
			}
		}
	}
	return ""
}

// onWriter says where an account is to be mended: what is done there replicates.
func (j *judge) onWriter() string {
	if w := j.writer(); w != "" {
		return "on " + w + ": "
	}
	return "on the writer: "
}

func (j *judge) role(name string) (config.Role, bool) {
	i := slices.IndexFunc(j.facts.Config.Roles, func(r config.Role) bool { return r.Name == name })
	if i < 0 {
		return config.Role{}, false
	}
	return j.facts.Config.Roles[i], true
}

// candidates are the hosts that may be the writer.
func (j *judge) candidates() []string {
	r, _ := j.role(j.facts.Config.ActiveMasterRole)
	return r.Hosts
}

// state is what a running monitor thinks of a host; "" where none was asked.
func (j *judge) state(host string) cluster.HostState {
	if j.facts.Monitor.View == nil {
		return ""
	}
	for _, h := range j.facts.Monitor.View.Hosts {
		if h.Name == host {
			return h.State
		}
	}
	return ""
}

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func timeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// plain is the error in few words: who was asked is known.
func plain(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case timeout(err):
		return "no answer in time"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// list joins names for a sentence.
func list(names []string) string {
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}
