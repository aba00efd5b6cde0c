package cluster

import (
	"fmt"
	"strings"
)

// Exposure says whether another host could take the writer role over if the writer died now.
type Exposure int

// The exposures.
const (
	Covered  Exposure = iota // another host could
	NoSpare                  // no host but the writer can have the role
	NoWriter                 // no host can have the role
)

// expose tells when no host can take the writer role over any more, and when one can again.
func (x *stepper) expose() {
	was := x.s.Exposure
	why, noWriter := x.s.Exposed(x.t)
	e := Event{Level: Warn, Text: why, Fact: NoSuccessor{}}
	switch {
	case why == "":
		x.s.Exposure = Covered
		e = Event{Level: Info, Fact: Successor{},
			Text: fmt.Sprintf("Role '%s' could be taken over again", x.t.ActiveMasterRole)}
	case noWriter:
		x.s.Exposure, e.Level = NoWriter, Fatal
	default:
		x.s.Exposure = NoSpare
	}
	if x.s.Exposure != was {
		x.out.Exposure = &e
	}
}

// Exposed says why nobody could take over from the writer now or, where there is no writer, why nobody can become it;
// "" where somebody could. It is "" too where only one host may have the role, since that is meant to be so, and in
// passive mode, in which nothing is given to anybody. noWriter says that there is no writer.
func (s State) Exposed(t Topology) (why string, noWriter bool) {
	r, ok := t.Role(t.ActiveMasterRole)
	if !ok || len(r.Hosts) < 2 || s.Mode == Passive {
		return "", false
	}
	writer := ""
	for _, a := range s.Addresses {
		if a.Role != r.Name {
			continue
		}
		if writer = a.Holder; writer == "" {
			writer = a.Next
		}
	}
	if gone := s.strangers(t); writer == "" && gone != nil {
		return fmt.Sprintf("Nobody can be given role '%s': only %s could say that nobody has it, and the configuration has none of them any more. "+
			"Add them again, or switch them off and use move_role --force", r.Name, strings.Join(gone, ", ")), true
	}
	if writer == "" && s.ignorant() {
		return fmt.Sprintf("Nobody can be given role '%s' yet: this monitor knows no earlier decision, and %s",
			r.Name, silence(s.unheardOf(t))), true
	}
	var others []string
	for _, name := range r.Hosts {
		h := s.Hosts[name]
		switch {
		case name == writer:
		case s.eligible(r, name) && (t.FailoverLoss == LossAny || s.missing(t, name) == ""):
			if silent := s.unheard(t, name); writer == "" && silent != nil {
				return fmt.Sprintf("Nobody can be given role '%s': only %s could say that nobody has it, and no agent of theirs can be reached. "+
					"Make one of them answer; or take those that are switched off out of the configuration, and use move_role --force", r.Name, strings.Join(silent, ", ")), true
			}
			return "", false
		case s.eligible(r, name):
			others = append(others, s.missing(t, name))
		case h.State == Online:
			others = append(others, fmt.Sprintf("the agent on '%s' can't be reached", name))
		default:
			others = append(others, fmt.Sprintf("'%s' is %s", name, h.State))
		}
	}
	if writer == "" {
		return fmt.Sprintf("Nobody can be given role '%s': %s", r.Name, strings.Join(others, ", ")), true
	}
	return fmt.Sprintf("Nobody could take role '%s' over from '%s': %s", r.Name, writer, strings.Join(others, ", ")),
		false
}
