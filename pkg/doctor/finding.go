package doctor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Severity is how much a finding matters.
type Severity uint8

// The severities, the worst last. OK means that something was looked at and is as it should be.
const (
	OK Severity = iota
	Note
	Warning
	Error
)

// String is the word that is printed.
func (s Severity) String() string {
	switch s {
	case OK:
		return "ok"
	case Note:
		return "note"
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	panic(fmt.Sprintf("impossible severity %d", s))
}

// MarshalText writes the word of String into JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MonitorHost is the Host of findings about the configuration and the monitor.
const MonitorHost = "monitor"

// Finding is one thing that was found.
type Finding struct {
	Severity Severity `json:"severity"`
	Name     string   `json:"name"`           // of the kind of finding, as in docs/doctor.md
	Host     string   `json:"host"`           // a host of the configuration, or MonitorHost
	What     string   `json:"what"`           // one sentence; "it" and "its" mean Host
	Mend     string   `json:"mend,omitempty"` // what to do about it; "" for OK
}

// Report is the result of an examination.
type Report struct {
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Findings []Finding `json:"findings"`
}

// NewReport sorts findings by host, the monitor first, and the worst first within a host. Findings with severity OK are
// left out unless verbose.
func NewReport(all []Finding, verbose bool) Report {
	r := Report{Findings: []Finding{}}
	for _, f := range all {
		switch f.Severity {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		case Note, OK:
		}
		if f.Severity > OK || verbose {
			r.Findings = append(r.Findings, f)
		}
	}
	rank := func(host string) string {
		if host == MonitorHost {
			return ""
		}
		return host
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(a.Host), rank(b.Host)), cmp.Compare(b.Severity, a.Severity))
	})
	return r
}

// Healthy says whether there are neither errors nor warnings. Notes don't count.
func (r Report) Healthy() bool { return r.Errors+r.Warnings == 0 }

// WriteJSON writes the report as one JSON document (docs/api/schema/doctor.json).
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// width is where lines of the report are wrapped, in bytes.
const width = 100

// WriteText writes the report for people. Sentences are wrapped. Remedies are not, so that they can be copied.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	host := ""
	for _, f := range r.Findings {
		if f.Host != host {
			host = f.Host
			fmt.Fprintf(&b, "%s\n", host)
		}
		const indent = "           "
		b.WriteString(wrap(fmt.Sprintf("  %-8s %s: %s", f.Severity, f.Name, f.What), indent))
		if f.Mend != "" {
			fmt.Fprintf(&b, "%smend: %s\n", indent, f.Mend)
		}
	}
	fmt.Fprintf(&b, "%s, %s\n", count(r.Errors, "error"), count(r.Warnings, "warning"))
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// wrap breaks a line between words. All lines but the first begin with indent.
func wrap(line, indent string) string {
	var b strings.Builder
	for len(line) > width {
		at := strings.LastIndex(line[:width+1], " ")
		if at <= len(indent) {
			break
		}
		b.WriteString(line[:at] + "\n")
		line = indent + strings.TrimLeft(line[at:], " ")
	}
	b.WriteString(line + "\n")
	return b.String()
}
