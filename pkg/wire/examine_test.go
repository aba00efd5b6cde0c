package wire

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mysql-mmm/pkg/cluster"
)

func examination() Examination {
	return Examination{
		Version: "1.0|x", File: "/etc/my sql/mmm_agent.conf", At: time.UnixMilli(1767225600123),
		Took: 250 * time.Millisecond,
		Settings: map[string]map[string]string{"": {"writer_lease": "00112233"},
			"<host db1>": {"ip": "44556677", "mode": "8899aabb"}},
		Interface: "eth0", Link: LinkUp, Hardware: "02:00:00:00:00:01",
		Addresses: []HostAddress{{"eth0", netip.MustParsePrefix("192.0.2.11/24")},
			{"lo", netip.MustParsePrefix("2001:db8::1/128")}},
		Seen:   map[netip.Addr]string{netip.MustParseAddr("192.0.2.12"): "02:00:00:00:00:02"},
		Lacks:  []string{"CAP_NET_RAW"},
		Faults: map[string]string{FaultState: "write /x|y: no = such\tfile"},
		Logins: []Login{{"db1", AgentAccount, LoginOK, ""},
			{"db2", ReplicationAccount, LoginDenied, "Access denied for user 'a'@'b' (100%)"}},
		Agents:  map[string]string{"db2": "", "db3": "connection refused"},
		Listens: []netip.AddrPort{netip.MustParseAddrPort("[::]:3306")},
		State:   cluster.Online, Ordered: []cluster.RoleIP{{Role: "writer", IP: netip.MustParseAddr("192.0.2.100")}},
		Embargo: "db2",
	}
}

func TestExaminationRoundTrip(t *testing.T) {
	for _, want := range []Examination{examination(), {State: cluster.Unknown, Link: LinkMissing, Interface: "eth9",
		At: time.UnixMilli(0)}} {
		a, err := ParseAnswer(Answer{Text: "OK: Examined!", Fields: want.Fields(), Uptime: 1}.String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseExamination(a)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(),
			cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
			cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// An answer about many hosts fits into a line.
func TestLargeExaminationFits(t *testing.T) {
	e := examination()
	for i := range 200 {
		host := strings.Repeat("h", 12) + string(rune('a'+i/26)) + string(rune('a'+i%26))
		e.Settings["<host "+host+">"] = map[string]string{"ip": "00112233", "mode": "00112233", "peer": "00112233",
			"agent_port": "00112233", "mysql_port": "00112233", "replication_channel": "00112233"}
		e.Logins = append(e.Logins, Login{host, AgentAccount, LoginOK, ""})
		e.Agents[host] = ""
	}
	if n := len(Answer{Text: "OK: Examined!", Fields: e.Fields()}.String()); n > MaxAnswer*3/4 {
		t.Errorf("%d bytes", n)
	}
}

func TestParseExamine(t *testing.T) {
	nonce := NewNonce()
	r, err := ParseRequest(ExamineRequest("db1", nonce).String())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseExamine(r); got != nonce || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, line := range []string{"EXAMINE|1|db1", "EXAMINE|1|db1|nonce=", "EXAMINE|1|db1|nonce=xyz",
		"EXAMINE|1|db1|nonce=00"} {
		r, err := ParseRequest(line)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseExamine(r); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
	for _, line := range []string{"ERROR: Invalid command 'EXAMINE'!|UP:1.00", "OK: Examined!|UP:1.00",
		"OK: Examined!|v=1|at=x|took=1|order=ONLINE |UP:1.00", "OK: Examined!|v=1|order=SOME |UP:1.00"} {
		a, err := ParseAnswer(line)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseExamination(a); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

// FuzzParseExamination: no answer makes the parser panic, and an examination that was read, written and read again is
// the same.
func FuzzParseExamination(f *testing.F) {
	f.Add(Answer{Text: "OK: Examined!", Fields: examination().Fields(), Uptime: 1}.String())
	seeds(f)
	f.Fuzz(func(t *testing.T, line string) {
		a, err := ParseAnswer(line)
		if err != nil {
			return
		}
		e, err := ParseExamination(a)
		if err != nil {
			return
		}
		text := Answer{Text: "OK: Examined!", Fields: e.Fields()}.String()
		if strings.Contains(text, "\n") {
			t.Errorf("%q is more than a line", text)
		}
	})
}
