package wire

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mysql-mmm/pkg/cluster"
)

var sameIP = cmpopts.EquateComparable(netip.Addr{})

func role(name, ip string) cluster.RoleIP {
	return cluster.RoleIP{Role: name, IP: netip.MustParseAddr(ip)}
}

func TestParseRequest(t *testing.T) {
	tests := []struct {
		line string
		want Request
		bad  bool
	}{
		{line: "PING|1|db1", want: Request{"PING", "1", "db1", nil}},
		{line: "PING|1|db1|", want: Request{"PING", "1", "db1", []string{""}}},
		{line: "A|2|db1|x||y", want: Request{"A", "2", "db1", []string{"x", "", "y"}}},
		{line: "||db1", want: Request{"", "", "db1", nil}},
		{line: "PING|1|db1\r", want: Request{"PING", "1", "db1\r", nil}},
		{line: "PING|1||x", want: Request{"PING", "1", "", []string{"x"}}},
		{line: "", bad: true},
		{line: "PING", bad: true},
		{line: "PING|1", bad: true},
		{line: "PING|1|", bad: true},
		{line: "PING|1|||", bad: true},
		{line: "||||||", bad: true},
	}
	for _, tt := range tests {
		got, err := ParseRequest(tt.line)
		if (err != nil) != tt.bad {
			t.Errorf("ParseRequest(%q): error %v", tt.line, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseRequest(%q) (-want +got):\n%s", tt.line, diff)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	tests := []struct {
		line string
		want Answer
		ok   bool // what OK reports
		bad  bool
	}{
		{line: "OK: Pinged!|UP:1515.00", want: Answer{"OK: Pinged!", nil, 1515}, ok: true},
		{line: "OK|a||UP:5", want: Answer{"OK", []string{"a", ""}, 5}, ok: true},
		{line: "ERROR: x|UP:3!|UP:1.5", want: Answer{"ERROR: x", []string{"UP:3!"}, 1.5}},
		{line: "|UP:0", want: Answer{}},
		{line: "OK: Pinged!", bad: true},
		{line: "OK|UP:", bad: true},
		{line: "OK|UP:-1", bad: true},
		{line: "OK|UP:NaN", bad: true},
		{line: "OK|UP:1e300", bad: true},
		{line: "OK|UP:1 ", bad: true},
		{line: "", bad: true},
	}
	for _, tt := range tests {
		got, err := ParseAnswer(tt.line)
		if (err != nil) != tt.bad {
			t.Errorf("ParseAnswer(%q): error %v", tt.line, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseAnswer(%q) (-want +got):\n%s", tt.line, diff)
		}
		if got.OK() != tt.ok {
			t.Errorf("ParseAnswer(%q).OK() = %v", tt.line, got.OK())
		}
	}
}

func TestAnswerIsOneLine(t *testing.T) {
	a := Answer{"ERROR: two\nlines", []string{"a\nb"}, 1}
	if got, want := a.String(), "ERROR: two lines|a b|UP:1.00"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOrder(t *testing.T) {
	tests := []struct {
		name  string
		order cluster.Order
		line  string
	}{
		{"classic, nothing", cluster.Order{State: cluster.AwaitingRecovery}, "SET_STATUS|1|db1|AWAITING_RECOVERY||"},
		{
			"classic, all",
			cluster.Order{State: cluster.Online, Roles: []cluster.RoleIP{role("reader", "10.0.0.2"),
				role("writer", "10.0.0.1")}, Master: "db1"},
			"SET_STATUS|1|db1|ONLINE|reader(10.0.0.2),writer(10.0.0.1)|db1",
		},
		{
			"classic leaves out what only we know",
			cluster.Order{State: cluster.Online, Master: "db2"},
			"SET_STATUS|1|db1|ONLINE||db2",
		},
		{
			"extended, no switch known",
			cluster.Order{State: cluster.Online, Extended: true, Seq: 7, Cut: true, Down: true, Lacks: true},
			"SET_STATUS|1|db1|ONLINE|||v=1|seq=7|lacking=1|down=1|cut=1",
		},
		{
			"our own, nothing else",
			cluster.Order{State: cluster.Online, Extended: true, Seq: 7},
			"SET_STATUS|1|db1|ONLINE|||v=1|seq=7",
		},
		{
			"former writers",
			cluster.Order{State: cluster.Online, Extended: true, Seq: 7, Left: "b.1:4", Trust: "db2@b.2:8",
				Across: "db1@b.1:4"},
			"SET_STATUS|1|db1|ONLINE|||v=1|seq=7|left=b.1:4|trust=db2@b.2:8|across=db1@b.1:4",
		},
		{
			"extended, all",
			cluster.Order{
				State: cluster.Online, Roles: []cluster.RoleIP{role("writer", "2001:db8::1")}, Master: "db2",
				Extended: true, Seq: 1<<64 - 1,
				Switch: cluster.Switch{From: "db1", After: "bin.000001:4", To: "db2", Start: "a|b=c%d\ne"},
			},
			"SET_STATUS|1|db1|ONLINE|writer(2001:db8::1)|db2|v=1|seq=18446744073709551615|from=db1|after=bin.000001:4|to=db2|start=a%7Cb%3Dc%25d%0Ae",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := OrderRequest("db1", tt.order).String(); got != tt.line {
				t.Errorf("got  %q\nwant %q", got, tt.line)
			}
			r, err := ParseRequest(tt.line)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseOrder(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.order, got, sameIP); diff != "" {
				t.Errorf("round trip (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrderLeavesOutExtras(t *testing.T) {
	o := cluster.Order{State: cluster.Online, Seq: 7, Switch: cluster.Switch{From: "db1"}}
	if got, want := OrderRequest("db1", o).String(), "SET_STATUS|1|db1|ONLINE||"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseOrder(t *testing.T) {
	online := cluster.Order{State: cluster.Online}
	tests := []struct {
		line string
		want cluster.Order
		bad  bool
	}{
		{line: "SET_STATUS|1|db1|ONLINE", want: online},
		{line: "SET_STATUS|1|db1|ONLINE|||x|y=z|%zz=%zz", want: online},
		{line: "SET_STATUS|1|db1|ONLINE|||seq=9", want: online},
		{line: "SET_STATUS|1|db1|ONLINE|||v=0|seq=x", want: online},
		{line: "SET_STATUS|1|db1|ONLINE|||v=2|seq=9|new=%7C",
			want: cluster.Order{State: cluster.Online, Extended: true, Seq: 9}},
		{line: "SET_STATUS|1|db1|ONLINE|||v=1|seq=8|seq=9", want: cluster.Order{State: cluster.Online, Extended: true,
			Seq: 9}},
		{line: "PING|1|db1|ONLINE||", bad: true},
		{line: "SET_STATUS|1|db1", bad: true},
		{line: "SET_STATUS|1|db1|online||", bad: true},
		{line: "SET_STATUS|1|db1|UNKNOWN||", bad: true},
		{line: "SET_STATUS|1|db1|ONLINE|writer|db1", bad: true},
		{line: "SET_STATUS|1|db1|ONLINE|writer(10.0.0.1|db1", bad: true},
		{line: "SET_STATUS|1|db1|ONLINE|writer(10.0.0.1),|db1", bad: true},
		{line: "SET_STATUS|1|db1|ONLINE|||v=1|seq=-1", bad: true},
		{line: "SET_STATUS|1|db1|ONLINE|||v=1|start=%zz", bad: true},
	}
	for _, tt := range tests {
		r, err := ParseRequest(tt.line)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseOrder(r)
		if (err != nil) != tt.bad {
			t.Errorf("ParseOrder(%q): error %v", tt.line, err)
		}
		if diff := cmp.Diff(tt.want, got, sameIP); diff != "" {
			t.Errorf("ParseOrder(%q) (-want +got):\n%s", tt.line, diff)
		}
	}
}

// TestOrderIsWhole: each field of an order reaches the agent. The host is the one that is asked: the request names it,
// and the order that the agent reads does not.
func TestOrderIsWhole(t *testing.T) {
	epoch := cluster.Epoch{Number: 7, Holder: "db1", Since: 6, Leaving: true, Gone: "db2",
		Terms: cluster.Terms{Candidates: "db1,db2", Lease: cluster.Lease(3 * time.Second),
			Longest: cluster.Lease(4 * time.Second)}}
	values := map[string]any{
		"State": cluster.AdminOffline, "Roles": []cluster.RoleIP{role("writer", "10.0.0.1")}, "Master": "db1",
		"Extended": true, "Seq": uint64(9), "Echo": cluster.Stamp{Boot: "b", At: 5},
		"Switch": cluster.Switch{From: "db2", After: "b.1:4", To: "db1", Start: "b.9:5"}, "Epoch": epoch,
		"Forced": true, "Lacks": true, "Down": true, "Cut": true, "Left": "b.1:4", "Trust": "db1@b.2:8",
		"Across": "db2@b.3:9", "Lease": cluster.Lease(5 * time.Second),
	}
	fields := reflect.TypeFor[cluster.Order]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		if name == "Host" {
			continue
		}
		sent := cluster.Order{State: cluster.Online, Extended: true, Lease: cluster.Lease(3 * time.Second)}
		value := reflect.ValueOf(values[name])
		if !value.IsValid() || !full(value) {
			t.Errorf("this test has no value for %s, or not one for each part of it", name)
			continue
		}
		reflect.ValueOf(&sent).Elem().Field(i).Set(value)
		r := OrderRequest("db1", sent)
		got, err := ParseOrder(r)
		if diff := cmp.Diff(sent, got, sameIP, cmpopts.EquateEmpty()); err != nil || diff != "" || r.Host != "db1" {
			t.Errorf("%s of %q (-sent +got), %v:\n%s", name, r, err, diff)
		}
	}
}

// full says whether each field of a value is set.
func full(v reflect.Value) bool {
	if v.Kind() != reflect.Struct {
		return !v.IsZero()
	}
	for i := range v.NumField() {
		if !full(v.Field(i)) {
			return false
		}
	}
	return true
}

func TestReport(t *testing.T) {
	tests := []struct {
		name   string
		report Report
		fields string
	}{
		{"original", Report{}, ""},
		{"nothing", Report{Extended: true}, "v=1|seq=0|have=|writable=?"},
		{
			"all",
			Report{
				Extended: true, Seq: 3, Have: []cluster.RoleIP{role("reader", "10.0.0.2"), role("writer", "10.0.0.1")},
				Writable: Yes, Busy: true,
				Switch:   cluster.Switch{From: "db2", After: "b.1:4", To: "db1", Start: "b.9:5"},
				Problems: []string{"set read_only: Access denied (a|b)", "second"},
			},
			"v=1|seq=3|have=reader(10.0.0.2),writer(10.0.0.1)|writable=1|busy=1|from=db2|after=b.1:4|to=db1|start=b.9:5|" +
				"problem=set read_only: Access denied (a%7Cb)|problem=second",
		},
		{"conflict", Report{Extended: true, Writable: No, Problems: []string{"a|b", "second"},
			Conflicts: []string{"a|b"}},
			"v=1|seq=0|have=|writable=0|conflict=1|conflicting=a%7Cb|problem=a%7Cb|problem=second"},
		{"stalled", Report{Extended: true, Writable: No, Stalled: 12500 * time.Millisecond, Stall: "it waits (Commit)",
			Fenced: true},
			"v=1|seq=0|have=|writable=0|stalled=12500|stall=it waits (Commit)|fenced=1"},
		{"astray", Report{Extended: true, Writable: No, Astray: true}, "v=1|seq=0|have=|writable=0|astray=1"},
		{"backup", Report{Extended: true, Writable: No, Backup: "mysqldump (process 77)"},
			"v=1|seq=0|have=|writable=0|backup=mysqldump (process 77)"},
		{"logs", Report{Extended: true, Writable: No, Audit: cluster.Audit{At: "b.1:4", Done: true},
			Across: cluster.Across{Host: "db1", Audit: cluster.Audit{At: "b.2:8", Done: true, Beyond: 2,
				Finding: "it has 2"}}},
			"v=1|seq=0|have=|writable=0|audited=b.1:4|beyond=0|finding=|across=db1@b.2:8|across_beyond=2|across_finding=it has 2"},
		{"read only", Report{Extended: true, Writable: No}, "v=1|seq=0|have=|writable=0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(tt.report.Fields(), "|"); got != tt.fields {
				t.Errorf("got  %q\nwant %q", got, tt.fields)
			}
			a, err := ParseAnswer(Answer{"OK: Status applied successfully!", tt.report.Fields(), 1}.String())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.report, ParseReport(a), sameIP); diff != "" {
				t.Errorf("round trip (-want +got):\n%s", diff)
			}
		})
	}
}

// Where an agent says that there is a conflict, and not which problem it is, each may be it.
func TestConflictOfOlderAgent(t *testing.T) {
	r := ParseReport(Answer{Fields: []string{"v=1", "seq=5", "have=", "writable=0", "conflict=1", "problem=a",
		"problem=b"}})
	if !slices.Equal(r.Conflicts, []string{"a", "b"}) || !slices.Equal(r.Problems, r.Conflicts) {
		t.Errorf("%+v", r)
	}
}

// A field of our agent's report that can't be read is left out. Where that is the field that proves what the host has,
// the report must neither pass for an original agent's bare OK nor confirm anything.
func TestDamagedReport(t *testing.T) {
	whole := []string{"v=1", "seq=5", "have=", "writable=0", "epoch=7,db1,6,0,", "stamp=b,5", "live=1",
		"terms=db1,db2;3000;3000",
		"promised=db2", "age=9", "audited=b.1:4", "beyond=0", "finding=", "across=db1@b.2:8", "across_beyond=0"}
	for field, proves := range map[string]bool{
		"seq=x": false, "have=writer": false, "have=%zz": false,
		"problem=%": true, "age=x": true, "age=86400001": true, "epoch=7": true, "stamp=b": true, "terms=db1": true,
		"beyond=-1":       true,
		"across_beyond=x": true,
	} {
		key, _, _ := strings.Cut(field, "=")
		rest := slices.DeleteFunc(slices.Clone(whole), func(f string) bool { return strings.HasPrefix(f, key+"=") })
		r := ParseReport(Answer{Text: "OK", Fields: append(rest, field)})
		if !r.Extended || len(r.Problems) == 0 {
			t.Errorf("%s: %+v", field, r)
		}
		if got := r.Seq == 5; got != proves {
			t.Errorf("%s: it proves what the host has: %v", field, got)
		}
		if stamp := r.Stamp != (cluster.Stamp{}); stamp == (field == "stamp=b") {
			t.Errorf("%s: the stamp is %s", field, r.Stamp)
		}
	}
	if r := ParseReport(Answer{Text: "OK", Fields: []string{"v=1", "seq=5", "writable=0"}}); r.Seq != 0 ||
		r.Writable != Unsure {
		t.Errorf("a report that does not say what the host has confirms %+v", r)
	}
	if r := ParseReport(Answer{Text: "ERROR: no", Fields: []string{"x=%zz", "seq=5"}}); r.Extended || r.Seq != 0 {
		t.Errorf("an original agent's error gives %+v", r)
	}
}

func TestStatuses(t *testing.T) {
	up := func(fields string) Answer {
		a, err := ParseAnswer("OK: Returning status!|" + fields + "|UP:1.00")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	agent, err := ParseAgentStatus(up("ONLINE|writer(10.0.0.1),reader(10.0.0.2)|db1"))
	if err != nil {
		t.Fatal(err)
	}
	want := AgentStatus{State: cluster.Online, Roles: []cluster.RoleIP{role("writer", "10.0.0.1"),
		role("reader", "10.0.0.2")}, Master: "db1"}
	if diff := cmp.Diff(want, agent, sameIP); diff != "" {
		t.Errorf("agent status (-want +got):\n%s", diff)
	}
	sys, err := ParseSystemStatus(up("1|writer(10.0.0.1)|10.0.0.9"))
	if err != nil {
		t.Fatal(err)
	}
	wantSys := SystemStatus{Writable: true, Roles: []cluster.RoleIP{role("writer", "10.0.0.1")}, MasterIP: "10.0.0.9"}
	if diff := cmp.Diff(wantSys, sys, sameIP); diff != "" {
		t.Errorf("system status (-want +got):\n%s", diff)
	}
	broken := SystemStatus{Problem: "connect to 127.0.0.1:3306: refused | no"}
	back, err := ParseSystemStatus(up(strings.Join(broken.Fields(), "|")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(broken, back, sameIP); diff != "" {
		t.Errorf("system status with a problem (-want +got):\n%s", diff)
	}
	for _, fields := range []string{"ONLINE|", "online||", "ONLINE|writer|db1"} {
		if s, err := ParseAgentStatus(up(fields)); err == nil {
			t.Errorf("agent status %q: no error, %+v", fields, s)
		}
	}
	for _, fields := range []string{"1|", "yes||", "1|writer|", "1|||problem=%zz"} {
		if s, err := ParseSystemStatus(up(fields)); err == nil {
			t.Errorf("system status %q: no error, %+v", fields, s)
		}
	}
	refusal := Answer{Text: "ERROR: Invalid hostname in command (x)! My name is 'db1'",
		Fields: []string{"ONLINE", "", ""}}
	if _, err := ParseAgentStatus(refusal); err == nil || !strings.Contains(err.Error(), "My name is 'db1'") {
		t.Errorf("a refusal gives %v", err)
	}
	if _, err := ParseSystemStatus(refusal); err == nil {
		t.Error("a refusal gives a system status")
	}
}
