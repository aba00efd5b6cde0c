package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// id names a section of the merged configuration. The top level is the zero id; unique sections have no name.
type id struct{ typ, name string }

// value is a variable as one program sees it.
type value struct {
	at    pos
	v     any  // of its kind's Go type; nil where the text is wrong or the program does not read the variable
	given bool // in a file, not by a default
}

// section is a merged section with its values. A missing value is no mistake here: validate reports it.
type section struct {
	rule sectionRule
	name string
	at   pos  // where it first appears; the start of the main file for one that exists unwritten
	seen bool // written in a file
	raw  map[string]node
	vals map[string]value
}

// where gives the statement to blame for a value: the variable, else the section.
func (s *section) where(variable string) pos {
	if v, ok := s.vals[variable]; ok && v.given {
		return v.at
	}
	return s.at
}

// label names the section in messages.
func (s *section) label() string {
	if s.rule.named {
		return s.at.notation().section(s.rule.typ, s.name)
	}
	return s.at.notation().any(s.rule)
}

// whose names one of the section's variables in messages.
func (s *section) whose(variable string) string {
	if s.rule.typ == "" {
		return "'" + variable + "'"
	}
	return "'" + variable + "' of " + s.label()
}

// get returns a value, the zero value of its type where there is none. T must be the Go type of the variable's kind.
func get[T any](s *section, variable string) T {
	var zero T
	if v := s.vals[variable].v; v != nil {
		return v.(T)
	}
	return zero
}

// model is the merged configuration for one program: sections with values, templates and defaults applied.
type model struct {
	program  Program
	rules    []sectionRule
	sections map[id]*section
	these    []node // all that 'this' was set to
	errs     Errors
	warnings Errors // what is likely not meant as it is written
}

func (m *model) unique(typ string) *section { return m.sections[id{typ: typ}] }

// all returns the sections of a type sorted by name, without the template.
func (m *model) all(typ string) []*section {
	var list []*section
	for _, key := range slices.SortedFunc(maps.Keys(m.sections),
		func(a, b id) int { return strings.Compare(a.name, b.name) }) {
		s := m.sections[key]
		if key.typ == typ && !(s.rule.template && key.name == templateName) {
			list = append(list, s)
		}
	}
	return list
}

// merge joins statements, includes resolved, into a model. A section that appears again adds to the first one. Of a
// variable that is set again in the same section the last value counts, as in the original. An unknown word that is
// close to a known one is reported and then taken for the known one, so that one slip is one error.
func merge(p Program, start pos, nodes []node) *model {
	m := &model{program: p, rules: ruleset(), sections: map[id]*section{}}
	for _, r := range m.rules {
		if !r.named {
			m.section(r, "", start)
		}
		for _, name := range r.names {
			m.section(r, name, start)
		}
	}
	top := m.unique("")
	for _, n := range nodes {
		if n.kind == variableNode {
			if n.key == "this" {
				m.these = append(m.these, n)
			}
			m.assign(top, n)
			continue
		}
		if s := m.find(n); s != nil {
			for _, v := range n.body {
				m.assign(s, v)
			}
		}
	}
	for _, s := range m.sections {
		m.interpret(s)
	}
	for _, s := range m.sections {
		m.fill(s)
	}
	return m
}

func (m *model) section(r sectionRule, name string, at pos) *section {
	key := id{r.typ, name}
	if m.sections[key] == nil {
		m.sections[key] = &section{rule: r, name: name, at: at, raw: map[string]node{}, vals: map[string]value{}}
	}
	return m.sections[key]
}

func (m *model) rule(typ string) (sectionRule, bool) {
	for _, r := range m.rules {
		if r.typ == typ {
			return r, true
		}
	}
	return sectionRule{}, false
}

// find returns the section that a section statement means, nil where that can't be told.
func (m *model) find(n node) *section {
	typ, as := n.key, n.at.notation()
	if _, ok := m.rule(typ); !ok {
		if _, ok := m.rules[0].variable(typ); ok {
			m.errs.add(n.at, "'%s' is a variable, not a section; write: %s", typ, as.variable(typ))
			return nil
		}
		meant := meantType(typ)
		m.errs.add(n.at, "unknown section %s%s", as.section(typ, n.value), hint(meant, sectionTypes()))
		if typ = meant; typ == "" {
			return nil
		}
	}
	r, _ := m.rule(typ)
	name := n.value
	switch {
	case r.named && name == "":
		m.errs.add(n.at, "section %s needs a name; write %s", as.section(typ, ""), as.block(r))
		return nil
	case !r.named && name != "":
		m.errs.add(n.at, "section %s takes no name; write %s", as.section(typ, ""), as.block(r))
		name = ""
	case r.names != nil && name != templateName && !slices.Contains(r.names, name):
		known := append([]string{templateName}, r.names...)
		m.errs.add(n.at, "unknown %s '%s', must be %s%s", typ, name, either(known), hint(name, known))
		if name = nearest(name, known); name == "" {
			return nil
		}
	}
	s := m.section(r, name, n.at)
	if !s.seen {
		s.at, s.seen = n.at, true
	}
	return s
}

// assign notes a variable's text. Which value counts is only known when all files are read, so its text is not judged
// here.
func (m *model) assign(s *section, n node) {
	if r, ok := s.rule.variable(n.key); ok {
		s.raw[r.name] = n
		return
	}
	r, ok := m.mistaken(s, n)
	if _, set := s.raw[r.name]; ok && !set { // a guess must not replace what is written
		s.raw[r.name] = n
	}
}

// mistaken reports a name that the section does not have, and returns what it was probably meant to be.
func (m *model) mistaken(s *section, n node) (rule, bool) {
	r, ok := s.rule.variable(nearest(n.key, s.rule.varNames()))
	as := n.at.notation()
	// What may be the name of a secret is not taken for another variable: the secret would be quoted as a wrong value.
	if ok && (r.kind.secret() || nearest(n.key, secretNames()) == "") {
		m.errs.add(n.at, "unknown variable '%s' in %s%s", n.key, s.label(), hint(n.key, s.rule.varNames()))
		return r, true
	}
	var homes []string
	for _, r := range m.rules {
		if r.typ == n.key {
			m.errs.add(n.at, "'%s' is a section, not a variable; write %s", n.key, as.block(r))
			return rule{}, false
		}
		if _, ok := r.variable(n.key); ok {
			homes = append(homes, as.any(r))
		}
	}
	host := m.sections[id{"host", n.key}]
	switch {
	case homes == nil && s.rule.typ == "" && n.value == "" && host != nil && n.key != templateName:
		m.errs.add(n.at, "'%s' is a host, not a variable; where this file is that host's, write: %s", n.key,
			strings.ReplaceAll(as.variable("this"), "VALUE", n.key))
		if _, set := s.raw["this"]; !set {
			meant := n
			meant.key, meant.value = "this", n.key
			s.raw["this"] = meant
		}
	case homes == nil:
		m.errs.add(n.at, "unknown variable '%s' in %s", n.key, s.label())
	default:
		m.errs.add(n.at, "variable '%s' does not belong in %s but in %s", n.key, s.label(), either(homes))
	}
	return rule{}, false
}

// secretNames are the variables, of any section, whose values must not be shown.
func secretNames() []string {
	var names []string
	for _, s := range ruleset() {
		for _, r := range s.vars {
			if r.kind.secret() {
				names = append(names, r.name)
			}
		}
	}
	return names
}

// interpret reads the values that count in this section. A variable with a wrong value has none, but is not missing.
func (m *model) interpret(s *section) {
	for name, n := range s.raw {
		r, _ := s.rule.variable(name)
		v, err := m.read(r, n)
		at := n.at
		if err != nil && n.fault != nil {
			at = n.fault.at
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				m.errs.add(at, "'%s' %s", name, line)
			}
		}
		if r.kind == secretFileKind {
			name = strings.TrimSuffix(name, fileSuffix)
			if other, both := s.raw[name]; both {
				m.errs.add(n.at, "'%s' and '%s' (%s:%d) are both set in %s; keep one", r.name, name, other.at.file,
					other.at.line, s.label())
			}
		}
		s.vals[name] = value{at: n.at, v: v, given: true}
	}
}

// read gives the value of a variable, nil where the program does not read it.
func (m *model) read(r rule, n node) (any, error) {
	read := r.reads.has(m.program)
	switch {
	case r.kind == ignoredKind || n.fault != nil && !read:
		return nil, nil
	case n.fault != nil:
		return nil, errors.New(n.fault.msg)
	case n.value == "":
		return nil, fmt.Errorf("lacks a value%s", emptyRemedy(r, n))
	case !read:
		return nil, nil
	}
	if err := r.fits(n.shape); err != nil {
		return nil, err
	}
	if r.kind == secretFileKind {
		return readSecret(n)
	}
	if r.kind == certsFileKind {
		return readCertificates(n)
	}
	text := n.value
	if r.kind == hostKind || r.kind == hostsKind {
		var err error
		if text, err = m.addresses(r, n); err != nil {
			return nil, err
		}
	}
	v, err := r.interpret(text)
	if err != nil {
		return nil, err // v may be half of a list
	}
	return v, nil
}

// emptyRemedy explains an empty password: a '#' has made a comment of it, which people do not see.
func emptyRemedy(r rule, n node) string {
	if r.kind == secretKind && n.shape == anyShape {
		return "; a '#' after a blank begins a comment, write \\# where it is part of the password"
	}
	return ""
}

// fill gives a section what it leaves out: from its type's template, then from the defaults of the rules.
func (m *model) fill(s *section) {
	if s.rule.template && s.name == templateName {
		return
	}
	if t := m.sections[id{s.rule.typ, templateName}]; s.rule.template && t != nil {
		for name, val := range t.vals {
			if _, ok := s.vals[name]; !ok {
				s.vals[name] = val
			}
		}
	}
	for _, r := range s.rule.vars {
		if _, ok := s.vals[r.name]; ok || r.def == "" || !r.reads.has(m.program) {
			continue
		}
		if v, err := r.interpret(r.def); err == nil { // a test reads every default
			s.vals[r.name] = value{at: s.at, v: v}
		}
	}
}
