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

// Judge makes findings of facts. It is pure.
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

// Unusable makes findings of err, the error with which a configuration could not be loaded.
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

// passing says whether a finding may come from a cluster in the middle of a change, as hosts are not all asked at the
// same moment.
func passing(f Finding) bool {
	switch f.Name {
	case "address-conflict", "address-twice", "address-stray", "address-unordered", "role-vacant", "agent-problem",
		"read-only", "event-running", "event-asleep", "replication-source", "replication-stopped":
		return f.Severity > Note
	}
	return false
}

// settled returns the later findings without those that may pass and that were not among the earlier ones. Findings
// about addresses count as the same only if they are about the same address: another one may be moving to the same
// host.
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

// exam is what the agent of a host found out; nil where the agent sent no examination.
func (j *judge) exam(host string) *wire.Examination { return j.facts.Hosts[host].Agent.Exam }

// holders are the hosts that have an address, on whichever interface.
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

// writer is the only host that has the writer's address, or else the host that has the role as the monitor says; ""
// where no host is known to be the writer.
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

// onWriter begins a remedy for an account: accounts are changed on the writer, from where the change replicates.
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

// candidates are the hosts that may have the active master role.
func (j *judge) candidates() []string {
	r, _ := j.role(j.facts.Config.ActiveMasterRole)
	return r.Hosts
}

// state is the state in which the monitor has a host; "" where no monitor has answered.
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

// plain is the error in few words, without the names and addresses that the finding has already.
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
