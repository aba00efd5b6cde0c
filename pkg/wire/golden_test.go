package wire

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// exchange is one request and its answer as recorded from the original programs.
type exchange struct {
	sent, answered string
	ended          bool // the server closed the connection
}

// recorded reads a file of testdata: C "SENT", S "ANSWERED", and for the control port FIN or open.
func recorded(t testing.TB, name string) []exchange {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []exchange
	for in := bufio.NewScanner(f); in.Scan(); {
		kind, rest, _ := strings.Cut(in.Text(), " ")
		text, err := strconv.Unquote(rest)
		if err != nil && (kind == "C" || kind == "S") {
			t.Fatalf("%s: %q: %v", name, in.Text(), err)
		}
		switch kind {
		case "C":
			all = append(all, exchange{sent: text})
		case "S":
			all[len(all)-1].answered = text
		case "FIN":
			all[len(all)-1].ended = true
		}
	}
	if len(all) < 8 {
		t.Fatalf("%s: only %d exchanges", name, len(all))
	}
	return all
}

func TestRecordedAgentLinesRoundTrip(t *testing.T) {
	for _, file := range []string{"agent_session.txt", "agent_direct.txt"} {
		for _, e := range recorded(t, file) {
			line := strings.TrimSuffix(e.sent, "\n")
			r, err := ParseRequest(line)
			refused := strings.HasPrefix(e.answered, "ERROR: Invalid command '"+line+"'!")
			if (err != nil) != refused {
				t.Errorf("%s: ParseRequest(%q): %v; the original answered %q", file, line, err, e.answered)
			}
			if err == nil && r.String() != line {
				t.Errorf("%s: request %q became %q", file, line, r.String())
			}
			line = strings.TrimSuffix(e.answered, "\n")
			a, err := ParseAnswer(line)
			if err != nil {
				t.Errorf("%s: %v", file, err)
			} else if a.String() != line {
				t.Errorf("%s: answer %q became %q", file, line, a.String())
			}
		}
	}
}

// Our orders and statuses are to the letter what the original sends and expects.
func TestRecordedMeaningsRoundTrip(t *testing.T) {
	for _, e := range recorded(t, "agent_session.txt") {
		line := strings.TrimSuffix(e.sent, "\n")
		r, err := ParseRequest(line)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ParseAnswer(strings.TrimSuffix(e.answered, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		switch r.Command {
		case SetStatus:
			o, err := ParseOrder(r)
			if err != nil {
				t.Errorf("%q: %v", line, err)
			}
			if o.Extended {
				t.Errorf("%q: taken for an extended order", line)
			}
			if got := OrderRequest(r.Host, o).String(); got != line {
				t.Errorf("order %q became %q", line, got)
			}
			if rep := ParseReport(a); rep.Extended {
				t.Errorf("%q: taken for an extended report", e.answered)
			}
		case GetAgentStatus:
			s, err := ParseAgentStatus(a)
			if err != nil {
				t.Errorf("%q: %v", e.answered, err)
			}
			if got := (Answer{a.Text, s.Fields(), a.Uptime}).String() + "\n"; got != e.answered {
				t.Errorf("status %q became %q", e.answered, got)
			}
		case GetSystemStatus:
			s, err := ParseSystemStatus(a)
			if err != nil {
				t.Errorf("%q: %v", e.answered, err)
			}
			if got := (Answer{a.Text, s.Fields(), a.Uptime}).String() + "\n"; got != e.answered {
				t.Errorf("status %q became %q", e.answered, got)
			}
		}
	}
}
