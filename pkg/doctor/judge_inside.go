package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
)

// bound judges whether the server listens on the addresses of the roles that its host may have. A host whose server
// listens only on the host's own address would be given a role, and no client could connect.
func (j *judge) bound(h config.Host, s *mysqlctl.Setup) {
	var deaf []string
	all := "0.0.0.0"
	for _, r := range j.facts.Config.Roles {
		if !slices.Contains(r.Hosts, h.Name) {
			continue
		}
		for _, ip := range r.IPs {
			if !ip.Is4() {
				all = "*"
			}
			if !listens(s.BindAddress, ip) {
				deaf = append(deaf, fmt.Sprintf("%s(%s)", r.Name, ip))
			}
		}
	}
	if len(deaf) > 0 {
		j.add(Error, "bind-address", h.Name, mycnf(h.Name, "bind-address = "+all),
			"its server listens on %s only: nobody can connect to %s there", s.BindAddress, list(deaf))
		return
	}
	j.ok("bind-address", h.Name, "its server listens on the addresses of its roles")
}

// listens says whether a server with the bind_address bind listens on ip. bind may be a list, and on MySQL each address
// of it may have a network namespace after a slash.
func listens(bind string, ip netip.Addr) bool {
	if bind == "" {
		return true
	}
	for one := range strings.SplitSeq(bind, ",") {
		one, _, _ = strings.Cut(strings.TrimSpace(one), "/")
		switch a, err := netip.ParseAddr(one); {
		case one == "*", one == "::", one == "0.0.0.0" && ip.Is4():
			return true
		case err == nil && a.Unmap() == ip:
			return true
		}
	}
	return false
}

// events judges the event scheduler. Events write inside the server, whatever addresses the host has: they must run on
// the writer, and nowhere else.
func (j *judge) events(h config.Host, s *mysqlctl.Setup) {
	if s.EventScheduler && s.EventGrant != "" {
		j.add(Note, "event-unseen", h.Name, j.onWriter()+s.EventGrant+";",
			"its event_scheduler is on, and monitor_user %s may not see which events it runs", h.MonitorUser)
	}
	writer := j.writer()
	if writer == "" {
		return
	}
	enabled := slices.DeleteFunc(slices.Clone(s.Events), func(e mysqlctl.Event) bool { return !e.Enabled })
	asleep := slices.DeleteFunc(slices.Clone(s.Events), func(e mysqlctl.Event) bool { return !e.Asleep })
	switch {
	case h.Name != writer && s.EventScheduler && len(enabled) > 0:
		j.add(Warning, "event-running", h.Name, dynamic(h.Name, "event_scheduler = OFF"),
			"its event_scheduler runs %s, though the writer is %s; read_only does not stop events whose definer may "+
				"write in spite of it", some(enabled), writer)
	case h.Name == writer && len(asleep) > 0:
		wake := ""
		for _, e := range asleep {
			wake += " " + e.WakeText()
		}
		if h.EventScheduler { // events are enabled on all hosts then, and the agents switch the schedulers on and off
			wake = " SET sql_log_bin = 0;" + wake
		}
		j.add(Warning, "event-asleep", h.Name, "on "+h.Name+":"+wake,
			"it is the writer, and does not run %s: events that come by replication are disabled", some(asleep))
	case h.Name == writer && len(enabled) > 0 && !s.EventScheduler:
		const mend = "on %s: SET GLOBAL event_scheduler = ON; for good: event_scheduler 1 in <host default> of mmm_common.conf"
		j.add(Warning, "event-asleep", h.Name, fmt.Sprintf(mend, h.Name),
			"it is the writer, and does not run %s, as its event_scheduler is off", some(enabled))
	}
}

// some names events; where there are more than three it names the first three and the number of all.
func some(events []mysqlctl.Event) string {
	const most = 3
	var names []string
	for _, e := range events[:min(len(events), most)] {
		names = append(names, e.String())
	}
	if n := len(events); n > most {
		return fmt.Sprintf("%d events (%s, …)", n, strings.Join(names, ", "))
	} else if n == 1 {
		return "the event " + names[0]
	}
	return "the events " + list(names)
}
