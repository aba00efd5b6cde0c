package wire

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mysql-mmm/pkg/cluster"
)

func seeds(f *testing.F) {
	for _, file := range []string{"agent_session.txt", "agent_direct.txt"} {
		for _, e := range recorded(f, file) {
			f.Add(strings.TrimSuffix(e.sent, "\n"))
			f.Add(strings.TrimSuffix(e.answered, "\n"))
		}
	}
	o := cluster.Order{State: cluster.Online, Roles: []cluster.RoleIP{role("w", "fe80::1%eth0")}, Extended: true,
		Seq: 5, Switch: cluster.Switch{From: "a", To: "b|c"}}
	f.Add(OrderRequest("db1", o).String())
	r := Report{Extended: true, Have: []cluster.RoleIP{role("w", "10.0.0.1")}, Writable: Yes,
		Problems: []string{"a\nb", "%"}}
	f.Add(Answer{"OK", r.Fields(), 1}.String())
}

func FuzzParseRequest(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, line string) {
		r, err := ParseRequest(line)
		if err != nil {
			return
		}
		if got, want := r.String(), oneLine(line); got != want {
			t.Errorf("%q became %q", want, got)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, line string) {
		a, err := ParseAnswer(line)
		if err != nil {
			return
		}
		text := a.String()
		if strings.Contains(text, "\n") {
			t.Fatalf("%q is more than one line", text)
		}
		again, err := ParseAnswer(text)
		if err != nil {
			t.Fatal(err)
		}
		if again.String() != text {
			t.Errorf("%q became %q", text, again.String())
		}
		if before := oneLine(line[:strings.LastIndex(line, "|UP:")]); !strings.HasPrefix(text, before+"|UP:") {
			t.Errorf("%q became %q", line, text)
		}
	})
}

func FuzzParseOrder(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, line string) {
		r, err := ParseRequest(line)
		if err != nil {
			return
		}
		o, err := ParseOrder(r)
		if err != nil {
			return
		}
		if strings.Contains(line, "\n") {
			return // no line
		}
		again, err := ParseRequest(OrderRequest("db1", o).String())
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseOrder(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sorted(o), sorted(back), sameIP); diff != "" {
			t.Errorf("round trip of %q (-want +got):\n%s", line, diff)
		}
	})
}

func FuzzParseReport(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, line string) {
		a, err := ParseAnswer(line)
		if err != nil {
			return
		}
		r := ParseReport(a)
		again, err := ParseAnswer(Answer{"OK", r.Fields(), 1}.String())
		if err != nil {
			t.Fatal(err)
		}
		back := ParseReport(again)
		r.Have, back.Have = sortedRoles(r.Have), sortedRoles(back.Have)
		if diff := cmp.Diff(r, back, sameIP); diff != "" {
			t.Errorf("round trip of %q (-want +got):\n%s", line, diff)
		}
		// These read the same answers: they must not panic.
		_, _ = ParseAgentStatus(a)
		_, _ = ParseSystemStatus(a)
	})
}

// sorted puts roles in the order in which they are written.
func sorted(o cluster.Order) cluster.Order {
	o.Roles = sortedRoles(o.Roles)
	return o
}

func sortedRoles(roles []cluster.RoleIP) []cluster.RoleIP {
	back, err := cluster.ParseRoleIPs(cluster.FormatRoleIPs(roles, ","))
	if err != nil {
		panic(err)
	}
	return back
}
