package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	minLease  = time.Second // the kernel counts the lifetimes of addresses in seconds
	maxLease  = time.Minute
	minSecret = 16 // whoever records one signed line can try secrets at home
)

// validate reports what the program at hand can't run with. Variables that the program does not read have no value, and
// so are not judged: mmm_control runs with roles that no monitor would accept.
func (m *model) validate() {
	for _, r := range m.rules {
		if r.named {
			m.needSection(r, len(m.all(r.typ)) > 0)
			for _, s := range m.all(r.typ) {
				m.needVariables(s)
			}
			continue
		}
		s := m.unique(r.typ)
		if m.needSection(r, s.seen) {
			m.needVariables(s)
		}
	}
	for _, s := range m.all("host") {
		m.validatePeer(s)
	}
	m.validateRoles()
	m.validateOrders()
	m.validateTop()
	m.validateSense()
	m.validateHooks()
	m.validateAlerts()
}

// needSection tells whether a section of this type may be looked into: it is there, or need not be.
func (m *model) needSection(r sectionRule, there bool) bool {
	if there || !r.needs.has(m.program) {
		return true
	}
	m.errs.add(m.unique("").at, "section %s is missing; %s needs it", m.unique("").at.notation().any(r), m.program)
	return false
}

func (m *model) needVariables(s *section) {
	for _, r := range s.rule.vars {
		if _, ok := s.vals[r.name]; ok || !r.needs.has(m.program) {
			continue
		}
		if variable, want, ok := strings.Cut(r.when, " "); ok {
			if get[string](s, variable) == want {
				m.errs.add(s.at, "%s lacks '%s', which %s needs where '%s' is %s", s.label(), r.name, m.program,
					variable, want)
			}
			continue
		}
		remedy := ""
		if s.rule.template {
			remedy = "; set it here or in " + s.at.notation().section(s.rule.typ, templateName)
		}
		m.errs.add(s.at, "%s lacks '%s', which %s needs%s", s.label(), r.name, m.program, remedy)
	}
}

// refer checks that each of the variable's names is a section of that type.
func (m *model) refer(s *section, variable, typ string, names ...string) {
	var known []string
	for _, t := range m.all(typ) {
		known = append(known, t.name)
	}
	for _, name := range names {
		if name == "" || slices.Contains(known, name) {
			continue
		}
		remedy := hint(name, known)
		switch {
		case remedy != "":
		case len(known) == 0:
			remedy = "; there is no section " + s.at.notation().section(typ, "NAME")
		default:
			remedy = "; known are " + strings.Join(known, ", ")
		}
		m.errs.add(s.where(variable), "%s names the unknown %s '%s'%s", s.whose(variable), typ, name, remedy)
	}
}

func (m *model) validatePeer(s *section) {
	peer := get[string](s, "peer")
	m.refer(s, "peer", "host", peer)
	other := m.sections[id{"host", peer}]
	if HostMode(get[string](s, "mode")) != Master || peer == "" || other == nil || peer == templateName {
		return
	}
	mode, back := get[string](other, "mode"), get[string](other, "peer")
	switch {
	case peer == s.name:
		m.errs.add(s.where("peer"), "%s is the host itself; name the other master", s.whose("peer"))
	case mode == string(Slave):
		m.errs.add(s.where("peer"), "%s is %s, a slave; name the other master", s.whose("peer"), peer)
	// where the other host's own peer is wrong, that is reported for the other host
	case mode == string(Master) && back != s.name && back != peer && m.sections[id{"host", back}] != nil:
		m.errs.add(s.where("peer"), "%s is %s, but the peer of %s is %s; two masters must name each other",
			s.whose("peer"), peer, peer, back)
	}
}

func (m *model) validateRoles() {
	owners := map[netip.Addr]string{}
	for _, s := range m.all("host") {
		if ip := get[netip.Addr](s, "ip"); ip.IsValid() {
			owners[ip] = s.label() + " as its own address"
		}
	}
	for _, s := range m.all("role") {
		hosts, ips, prefer := get[[]string](s, "hosts"), get[[]netip.Addr](s, "ips"), get[string](s, "prefer")
		m.refer(s, "hosts", "host", hosts...)
		for _, ip := range ips {
			if other, taken := owners[ip]; taken {
				m.errs.add(s.where("ips"), "ip %s of %s is used by %s", ip, s.label(), other)
				continue
			}
			owners[ip] = s.label()
		}
		exclusive := get[string](s, "mode") == "exclusive"
		if exclusive && len(ips) > 1 {
			m.errs.add(s.where("ips"),
				"exclusive %s has %d ips, but only one can be moved as one; keep one, or make the role balanced",
				s.label(), len(ips))
		}
		if prefer == "" {
			continue
		}
		if get[string](s, "mode") == "balanced" {
			m.errs.add(s.where("prefer"), "%s: only exclusive roles can prefer a host", s.whose("prefer"))
		} else if hosts != nil && !slices.Contains(hosts, prefer) {
			m.errs.add(s.where("prefer"), "%s must be one of its hosts (%s), not '%s'%s", s.whose("prefer"),
				strings.Join(hosts, ", "), prefer, hint(prefer, hosts))
		}
	}
}

func (m *model) validateTop() {
	top := m.unique("")
	m.refer(top, "this", "host", get[string](top, "this"))
	if lease := get[time.Duration](top, "writer_lease"); lease != 0 && (lease < minLease || lease > maxLease) {
		m.errs.add(top.where("writer_lease"), "'writer_lease' must be 0 or from %s to %s, not %s", minLease, maxLease,
			lease)
	}
	if secret := get[Secret](top, "agent_secret"); secret != "" && utf8.RuneCountInString(secret.Reveal()) < minSecret {
		m.errs.add(top.where("agent_secret"),
			"'agent_secret' must have at least %d characters; this makes a good one: openssl rand -hex 32", minSecret)
	}
	name := get[string](top, "active_master_role")
	m.refer(top, "active_master_role", "role", name)
	if role := m.sections[id{"role", name}]; role != nil && get[string](role, "mode") == "balanced" {
		m.errs.add(top.where("active_master_role"),
			"'active_master_role' names %s, which is balanced; the writer's role must be exclusive", role.label())
	}
}
