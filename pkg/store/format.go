package store

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mysql-mmm/pkg/cluster"
)

// switchLine begins the line of a status file that is ours. The original warns of a host that it does not know and goes
// on.
const switchLine = "#switch"

// epochLine holds the newest decision about the writer, where it has a lease.
const epochLine = "#epoch"

// termsLine holds what the newest decision rests on: its terms, who may be appointed because time has passed, and
// whether somebody may hold the role without a lease.
const termsLine = "#terms"

// classicLine names a host whose agent speaks the original's protocol only.
const classicLine = "#classic"

// auditLine holds a former writer, the place in its log up to which the others have it, and whether it may be
// replicated from again.
const (
	auditLine   = "#audit"
	trustedWord = "trusted"
	openWord    = "open"
	pastWord    = "past"
)

// bootLine holds the id of the boot in which a host was when it was known to have what the writer writes.
const bootLine = "#boot"

// fitLine says whether a host has what the writer writes, and whose writes it lacks where it has not.
const fitLine = "#fit"

// format writes a status file: one line a host, as the original does, and how the writer took over.
func format(d cluster.Durable) string {
	var b strings.Builder
	names := make([]string, 0, len(d.Hosts))
	for name := range d.Hosts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s|%s|%s\n", name, d.Hosts[name].State, cluster.FormatRoleIPs(d.Hosts[name].Roles, ","))
	}
	for _, name := range names {
		if a := d.Hosts[name].Audit; a.At != "" {
			fmt.Fprintf(&b, "%s|%s|%s|%s%s\n", auditLine, name, a.At,
				map[bool]string{true: trustedWord, false: openWord}[a.Waived],
				map[bool]string{true: "|" + pastWord}[a.Past])
		}
	}
	for _, name := range names {
		if h := d.Hosts[name]; h.Fitness != cluster.FitnessUnknown {
			fmt.Fprintf(&b, "%s|%s|%s|%s\n", fitLine, name, h.Fitness, h.LackOf)
		}
	}
	for _, name := range names {
		if boot := d.Hosts[name].Boot; boot != "" {
			fmt.Fprintf(&b, "%s|%s|%s\n", bootLine, name, boot)
		}
	}
	if d.Writer != "" {
		s := d.Switch
		fmt.Fprintf(&b, "%s|%s|%s|%s|%s|%s\n", switchLine, d.Writer, s.From, s.After, s.To, s.Start)
	}
	if d.Epoch.Number > 0 {
		fmt.Fprintf(&b, "%s|%s\n", epochLine, d.Epoch)
		fmt.Fprintf(&b, "%s|%s|%s|%s\n", termsLine, d.Epoch.Terms, d.Successors,
			map[bool]string{true: "1", false: "0"}[d.Endless])
	}
	for _, name := range names {
		if d.Hosts[name].Classic {
			fmt.Fprintf(&b, "%s|%s\n", classicLine, name)
		}
	}
	return b.String()
}

// parse reads what format or the original wrote. What can't be right is left out, with a warning each.
func parse(text string, known func(host string) bool) (cluster.Durable, []string) {
	d := cluster.Durable{Hosts: map[string]cluster.StoredHost{}}
	var warnings []string
	if text != "" && !strings.HasSuffix(text, "\n") {
		warnings = append(warnings, "it is truncated: its last line is ignored")
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		fields := strings.Split(line, "|")
		switch {
		case fields[0] == switchLine && len(fields) == 6 && known(fields[1]):
			d.Writer = fields[1]
			d.Switch = cluster.Switch{From: fields[2], After: fields[3], To: fields[4], Start: fields[5]}
		case fields[0] == epochLine && len(fields) == 2:
			e, err := cluster.ParseEpoch(fields[1])
			if err != nil {
				warnings = append(warnings, err.Error())
			}
			e.Terms = d.Epoch.Terms
			d.Epoch = e
		case fields[0] == termsLine:
			if err := parseTerms(&d, fields); err != nil {
				warnings = append(warnings, err.Error()+": as if nobody but its holder could be the writer")
			}
		case fields[0] == classicLine && len(fields) == 2 && known(fields[1]):
			h := d.Hosts[fields[1]]
			h.Classic = true
			d.Hosts[fields[1]] = h
		case fields[0] == auditLine && (len(fields) == 4 || len(fields) == 5) && known(fields[1]):
			h := d.Hosts[fields[1]]
			h.Audit = cluster.Audit{At: fields[2], Waived: fields[3] == trustedWord,
				Past: slices.Contains(fields[4:], pastWord)}
			d.Hosts[fields[1]] = h
		case fields[0] == fitLine && len(fields) == 4 && d.Hosts[fields[1]].State != "":
			h := d.Hosts[fields[1]]
			fitness, err := cluster.ParseFitness(fields[2])
			if err != nil {
				warnings = append(warnings, fmt.Sprintf("line %q: %v: ignored", clip(line), err))
				continue
			}
			h.Fitness, h.LackOf = fitness, fields[3]
			d.Hosts[fields[1]] = h
		case fields[0] == bootLine && len(fields) == 3 && d.Hosts[fields[1]].State != "":
			h := d.Hosts[fields[1]]
			h.Boot = fields[2]
			d.Hosts[fields[1]] = h
		case len(fields) != 3:
			warnings = append(warnings, fmt.Sprintf("line %q is not HOST|STATE|ROLES: ignored", clip(line)))
		case !known(fields[0]):
			warnings = append(warnings, fmt.Sprintf("host %q is not in the configuration: ignored", clip(fields[0])))
		default:
			state, err := cluster.ParseHostState(fields[1])
			roles, roleErr := cluster.ParseRoleIPs(fields[2])
			if err = errors.Join(err, roleErr); err != nil {
				warnings = append(warnings, fmt.Sprintf("line %q: %v: ignored", clip(line), err))
				continue
			}
			d.Hosts[fields[0]] = cluster.StoredHost{State: state, Roles: roles}
		}
	}
	if err := lines.Err(); err != nil {
		warnings = append(warnings, "it is no status file: "+err.Error())
	}
	return d, warnings
}

// parseTerms reads the line of the terms. Those that can't be understood are the worst there could be: the holder has
// the role without a lease.
func parseTerms(d *cluster.Durable, fields []string) error {
	d.Epoch.Terms = cluster.Terms{Candidates: d.Epoch.Holder}
	d.Successors, d.Endless = d.Epoch.Holder, true
	if len(fields) != 4 {
		return fmt.Errorf("line %q is not TERMS|SUCCESSORS|ENDLESS", clip(strings.Join(fields, "|")))
	}
	terms, err := cluster.ParseTerms(fields[1])
	if err == nil && terms == (cluster.Terms{}) {
		err = errors.New("there are none")
	}
	if err != nil {
		return fmt.Errorf("line %q: %w", clip(strings.Join(fields, "|")), err)
	}
	d.Epoch.Terms, d.Successors, d.Endless = terms, fields[2], fields[3] != "0"
	return nil
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
