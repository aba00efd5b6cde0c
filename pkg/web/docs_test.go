package web

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/agent"
	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/wire"
)

// exported returns the names of all metrics of the programs with their help.
func exported(t *testing.T) map[string]string {
	t.Helper()
	m := NewMetrics("")
	m.Probed(check.Update{Host: "db1", Name: check.Ping})
	m.Asked("db1", 0, true)
	m.Asked("db1", 0, false)
	m.Killed("db1", true)
	m.Happened(event.Event{Name: event.State, To: "ONLINE"})
	for _, to := range []string{"db1", "db2"} {
		m.Happened(event.Event{Name: event.Role, Role: "writer", From: "db1", To: to, Host: to})
	}
	_, monitor := get(t, Monitor(well(), m), "/metrics")
	a := &watchedAgent{up: true, status: agent.Status{Known: []cluster.RoleIP{{}}, Writable: wire.Yes,
		Heard: time.Now()}}
	_, agent := get(t, Agent(a, ""), "/metrics")
	help := map[string]string{}
	for line := range strings.Lines(monitor + agent) {
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok && strings.HasPrefix(rest, "mmm_") {
			name, text, _ := strings.Cut(strings.TrimSpace(rest), " ")
			help[name] = text
		}
	}
	return help
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docs/monitoring.md has every metric, and no others.
func TestDocumented(t *testing.T) {
	page := read(t, "../../docs/monitoring.md")
	metrics := exported(t)
	if len(metrics) < 30 {
		t.Fatalf("only %d metrics", len(metrics))
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(mmm_[a-z_]+)`").FindAllStringSubmatch(page, -1) {
		rows[m[1]] = true
		if metrics[m[1]] == "" {
			t.Errorf("documented, but there is no %s", m[1])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if !rows[name] {
			t.Errorf("not documented: | `%s` | %s |", name, metrics[name])
		}
	}
}

// Each alert has a section in docs/monitoring.md. The section begins with the severity of the alert, and the
// runbook_url of the alert leads to it. No other alerts have sections.
func TestAlertsAreDocumented(t *testing.T) {
	page := read(t, "../../docs/monitoring.md")
	_, rules, _ := strings.Cut(read(t, "../../packaging/prometheus/mysql-mmm.rules.yml"), "\n    rules:\n")
	alerts := strings.Split(rules, "- alert: ")[1:]
	for _, rule := range alerts {
		name, rule, _ := strings.Cut(rule, "\n")
		severity := regexp.MustCompile(`(?m)^ +labels: \{severity: (\w+)\}$`).FindStringSubmatch(rule)
		if severity == nil {
			t.Errorf("alert %s has no severity", name)
			continue
		}
		if !strings.Contains(page, "\n#### "+name+"\n\n**"+severity[1]+"**: ") {
			t.Errorf("alert %s is not documented, or not as %s", name, severity[1])
		}
		// ends with the anchor of the heading
		url := "          runbook_url: file:///usr/share/doc/mysql-mmm/docs/monitoring.md#" + strings.ToLower(name) + "\n"
		if strings.Count(rule, "runbook_url") != 1 || !strings.Contains(rule, url) {
			t.Errorf("alert %s lacks %s", name, url)
		}
	}
	if n := strings.Count(page, "\n#### MMM"); n != len(alerts) || n < 15 {
		t.Errorf("%d alerts are documented, there are %d", n, len(alerts))
	}
}

// The rules for Prometheus and the dashboard for Grafana that are shipped use only metrics that exist.
func TestShippedFilesFit(t *testing.T) {
	metrics := exported(t)
	for _, file := range []string{"../../packaging/prometheus/mysql-mmm.rules.yml",
		"../../packaging/grafana/mysql-mmm.json"} {
		names := regexp.MustCompile(`mmm_[a-z_]+`).FindAllString(read(t, file), -1)
		if len(names) < 10 {
			t.Errorf("%s: only %d metrics", file, len(names))
		}
		for _, name := range names {
			base := name
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if metrics[base] == "" && name != "mmm_control" {
				t.Errorf("%s asks for %s", file, name)
			}
		}
	}
}
