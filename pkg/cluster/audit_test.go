package cluster

import "testing"

// TestNewDoubt: which successor's place in a former writer's log counts, and which hosts a successor may replicate from
// after it has reported its place.
func TestNewDoubt(t *testing.T) {
	const x, y = "bin.000001:100", "bin.000002:4"
	clean := Audit{At: x, Waived: true}
	past := Audit{At: x, Waived: true, Past: true}
	toDB2, toDB3 := Switch{From: "db1", To: "db2"}, Switch{From: "db1", To: "db3"}
	for name, c := range map[string]struct {
		known Audit // of db1's log
		last  Switch
		at    string // db2 reports
		audit Audit
		trust string // in db2's order
	}{
		"the first report":                         {Audit{}, toDB2, x, Audit{At: x}, ""},
		"the same again":                           {Audit{At: x}, toDB2, x, Audit{At: x}, ""},
		"the same, found to be clean":              {clean, toDB2, x, clean, "db1@" + x},
		"another place":                            {clean, toDB2, y, Audit{At: y}, ""},
		"the same place after another reign":       {past, toDB2, x, Audit{At: x}, ""},
		"another place after another reign":        {past, toDB2, y, Audit{At: y}, ""},
		"no place yet after another reign":         {past, toDB2, "", past, "db1@"},
		"of long ago, nothing newer is known":      {Audit{}, toDB3, x, Audit{At: x}, ""},
		"of long ago, the newer place is not seen": {Audit{At: y}, toDB3, x, Audit{At: y}, ""},
		"of long ago, the newer place is clean": {Audit{At: y, Waived: true}, toDB3, x, Audit{At: y, Waived: true},
			"db1@" + x + ",db1@" + y},
		"of long ago, as what is known":  {past, toDB3, x, past, "db1@" + x},
		"what is known is of longer ago": {past, toDB3, y, Audit{At: y}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			top := lab()
			s := State{Switch: c.last, Hosts: map[string]HostInfo{"db1": {Audit: c.known}, "db2": {}},
				Addresses: []Address{{RoleIP: RoleIP{Role: "writer"}, Holder: c.last.To, seq: 5}}}
			step := stepper{t: top, s: &s, out: &Output{}}
			ans := Answer{Host: "db2", Seq: 5, Reached: true, Writable: true, Embargo: Embargo{Host: "db1", At: c.at}}
			for range 2 { // once more changes nothing
				s.Hosts["db2"] = HostInfo{Embargo: ans.Embargo}
				step.audits(ans)
				if got := s.Hosts["db1"].Audit; got != c.audit {
					t.Errorf("audit %+v, want %+v", got, c.audit)
				}
				if got := s.trust("db2"); got != c.trust {
					t.Errorf("db2 is told to trust %q, want %q", got, c.trust)
				}
			}
		})
	}
	s := State{Switch: toDB2, Hosts: map[string]HostInfo{"db1": {Audit: past}},
		Addresses: []Address{{RoleIP: RoleIP{Role: "writer"}, Holder: "db2", seq: 5}}}
	step := stepper{t: lab(), s: &s, out: &Output{}}
	step.audits(Answer{Host: "db2", Seq: 4, Reached: true, Embargo: Embargo{Host: "db1", At: x}})
	if got := s.Hosts["db1"].Audit; got != past {
		t.Errorf("an answer from before it took over: %+v", got)
	}
}
