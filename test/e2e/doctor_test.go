package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

const secret = "agent_secret 0123456789abcdef0123456789abcdef\n"

// found is a finding of the doctor as its JSON has it.
type found struct{ Severity, Name, Host, What, Mend string }

func (f found) String() string {
	return fmt.Sprintf("%s %s %s: %s [%s]", f.Severity, f.Host, f.Name, f.What, f.Mend)
}

// doctor runs mmm_control doctor --json, and returns what it finds and its exit status.
func (b *bench) doctor() (findings []found, status int) {
	b.Helper()
	out, status, err := b.Control(b.ctx, "doctor", "--json")
	b.must(err)
	var report struct {
		Errors, Warnings int
		Findings         []found
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	if (status == 0) != (report.Errors+report.Warnings == 0) {
		b.Errorf("exit status %d with %d errors, %d warnings", status, report.Errors, report.Warnings)
	}
	return report.Findings, status
}

// well waits until the doctor finds nothing wrong.
func (b *bench) well() {
	b.Helper()
	b.must(lab.Wait(b.ctx, "the doctor to find nothing wrong", func() (bool, string) {
		findings, status := b.doctor()
		return status == 0, fmt.Sprint(findings)
	}))
}

// TestDoctorHealthy: the doctor finds nothing wrong with a healthy cluster under load.
func TestDoctorHealthy(t *testing.T) {
	each(t, func(t *testing.T, o lab.Options) {
		o.Common = secret
		b := start(t, o)
		b.load()
		b.well()
		out, status := b.control("doctor --verbose")
		if status != 0 || !strings.HasSuffix(out, "\n0 errors, 0 warnings\n") ||
			strings.Count(out, "ok       agent-login") != 3 {
			t.Errorf("exit status %d:\n%s", status, out)
		}
	})
}

// TestDoctorBeforeTheMonitor: before any daemon runs the doctor finds the agents missing; once they run, while the
// monitor does not, it finds nothing wrong.
func TestDoctorBeforeTheMonitor(t *testing.T) {
	b := prepare(t, lab.Options{Common: secret})
	findings, status := b.doctor()
	down := 0
	for _, f := range findings {
		switch f.Name {
		case "agent-down":
			down++
		case "monitor-down", "kill-host":
		default:
			t.Errorf("%v", f)
		}
	}
	if status != 1 || down != 3 {
		t.Errorf("exit status %d: %v", status, findings)
	}
	for _, n := range b.DBs {
		b.must(n.Agent.Start())
	}
	b.well()
}

// breakage is one thing that a test makes wrong (strike) and right again (heal), and what the doctor must find: the
// name of the finding, the host, and parts of the texts of finding and remedy.
type breakage struct {
	name, host string
	what, mend string
	strike     func(b *bench) error
	heal       func(b *bench) error
}

// restarts is a line of the configuration for tests that restart servers often: where a restart takes longer than
// trap_period, their hosts would count as flapping.
const restarts = " flap_count 100\n"

// TestDoctorFinds: the doctor finds each breakage, names its remedy, and finds nothing wrong any more when it is
// mended.
func TestDoctorFinds(t *testing.T) {
	b := start(t, lab.Options{Common: secret, Mon: restarts})
	b.well()
	b.finds(append(breakages(), mariaDBBreakages()...))
}

// TestDoctorFindsOnMySQL: the same for breakages for which the doctor has other words with MySQL.
func TestDoctorFindsOnMySQL(t *testing.T) {
	b := start(t, lab.Options{Common: secret, Server: servers.Tested()[1], Mon: restarts})
	b.well()
	b.finds(mySQLBreakages())
}

// companion is, by the name of a breakage, another finding that may come with it.
var companion = map[string]string{
	"config-differs": "server-cut", "agents-differ": "replication-login", "interface-ip": "address-elsewhere",
	"address-elsewhere": "address-twice", "address-twice": "address-elsewhere",
	"replication-source": "replication-stopped",
}

// finds makes each breakage, waits until the doctor finds it, and mends it.
func (b *bench) finds(all []breakage) {
	for _, br := range all {
		began := time.Now()
		b.must(br.strike(b))
		var findings []found
		b.must(lab.Wait(b.ctx, br.name+" to be found", func() (bool, string) {
			var status int
			findings, status = b.doctor()
			for _, f := range findings {
				if f.Name == br.name && f.Host == br.host && strings.Contains(f.What, br.what) &&
					strings.Contains(f.Mend, br.mend) && status == 1 {
					b.said = f.Mend
					return true, ""
				}
			}
			return false, fmt.Sprint(findings)
		}))
		for _, f := range findings {
			if f.Severity == "error" && f.Name != br.name && f.Name != companion[br.name] && f.Name != "agent-problem" {
				b.Errorf("%s: the doctor also finds: %v", br.name, f)
			}
		}
		b.must(br.heal(b))
		b.well()
		b.Logf("%s on %s: %.1f s", br.name, br.host, time.Since(began).Seconds())
	}
}

// TestDoctorWithTLS: the doctor talks to agents and monitor with certificates, and names those that are about to
// expire.
func TestDoctorWithTLS(t *testing.T) {
	dir := t.TempDir()
	ca, key := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "host", ca, key)
	b := start(t, lab.Options{Common: "<socket>\n type ssl\n cert_file " + dir + "/host.crt\n key_file " +
		dir + "/host.key\n ca_file " + dir + "/ca.crt\n</socket>"})
	b.must(lab.Wait(b.ctx, "nothing but the certificate to be found", func() (bool, string) {
		findings, _ := b.doctor()
		findings = slices.DeleteFunc(findings, func(f found) bool { return f.Severity == "note" })
		return len(findings) == 1 && findings[0].Name == "tls-expired", fmt.Sprint(findings)
	}))
}

// TestDoctorIsQuick: a host that answers nothing delays the doctor no longer than its deadlines.
func TestDoctorIsQuick(t *testing.T) {
	b := start(t, lab.Options{Common: secret})
	b.must(b.Node("db3").Cut(true))
	began := time.Now()
	if _, status := b.doctor(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("it took %v", took)
	}
	b.must(b.Node("db3").Cut(false))
}
