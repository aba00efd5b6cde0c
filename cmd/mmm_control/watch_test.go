package main

import (
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/docs/api/apitest"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/wire"
)

// The screen is drawn at each change, and not between.
func TestWatchDrawsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		texts := []string{"a\n", "a\n", "a\n", "b\nc\n", "b\nc\n"}
		ctx, cancel := context.WithCancel(t.Context())
		var screen strings.Builder
		follow(ctx, func(context.Context) string {
			text := texts[0]
			if texts = texts[1:]; len(texts) == 0 {
				cancel()
			}
			return text
		}, func(text string) error { return draw(&screen, time.Now(), text) })
		if n := strings.Count(screen.String(), home); n != 2 {
			t.Errorf("drawn %d times:\n%q", n, screen.String())
		}
		if !strings.Contains(screen.String(), "b"+restOfLine+"\nc"+restOfLine+"\n") {
			t.Errorf("%q", screen.String())
		}
	})
}

// watch shows what the monitor answers, and says so where the monitor is away.
func TestWatchLooks(t *testing.T) {
	load, asked := monitor(t, "answer")
	conf, err := load(config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(conf.Monitor.IP, uint16(conf.Monitor.Port)).String()
	if got := look(t.Context(), wire.Dialer{}, addr); got != "answer\nanswer" {
		t.Errorf("%q", got)
	}
	if a, b := <-asked, <-asked; a != "show" || b != "checks" {
		t.Errorf("asked %q, %q", a, b)
	}
	if got := look(t.Context(), wire.Dialer{}, "127.0.0.1:1"); !strings.HasPrefix(got,
		"ERROR: Can't connect to monitor daemon!\n# ") {
		t.Errorf("%q", got)
	}
}

// Once the output can't be written any more, the monitor is not asked again.
func TestWatchEndsWithItsReader(t *testing.T) {
	looked := 0
	follow(t.Context(), func(context.Context) string { looked++; return "a" },
		func(string) error { return io.ErrClosedPipe })
	if looked != 1 {
		t.Errorf("looked %d times", looked)
	}
}

// TestWatchIsAsDescribed: what is printed fits docs/api/schema, with a monitor and without.
func TestWatchIsAsDescribed(t *testing.T) {
	show, err := json.MarshalIndent(cluster.View{Mode: cluster.Active, Hosts: []cluster.HostView{{Name: "db1",
		IP: "10.0.0.1", Mode: "master", State: cluster.Online, Roles: []string{"writer(10.0.0.100)"},
		Problems: []string{}}}, Roles: []cluster.RoleView{}, Warnings: []string{}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	line := watched{Show: show, Checks: json.RawMessage("[]")}.String()
	apitest.Check(t, "schema/watch.json", "a line", []byte(line))
	if strings.Contains(line, "\n") {
		t.Errorf("more than a line: %q", line)
	}
	apitest.Full(t, watched{Error: "e", Show: json.RawMessage("{}"), Checks: json.RawMessage("[]")})
	apitest.Check(t, "schema/watch.json", "no monitor", []byte(lookJSON(t.Context(), wire.Dialer{}, "127.0.0.1:1")))
	load, _ := monitor(t, "ERROR: starting")
	conf, err := load(config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(conf.Monitor.IP, uint16(conf.Monitor.Port)).String()
	apitest.Check(t, "schema/watch.json", "no JSON", []byte(lookJSON(t.Context(), wire.Dialer{}, addr)))
}

// TestEveryJSONIsDescribed: each command that knows --json has a schema, which the program's documents name.
func TestEveryJSONIsDescribed(t *testing.T) {
	for _, name := range jsonCommands() {
		if schema := apitest.Schema(t, "schema/"+name+".json"); schema.Title != name ||
			!strings.Contains(schema.Description, "`mmm_control "+name) {
			t.Errorf("%s: %q, %q", name, schema.Title, schema.Description)
		}
	}
}

// watch --json gives one line of JSON, also for a monitor that is away or whose answer is no JSON.
func TestWatchJSON(t *testing.T) {
	load, asked := monitor(t, "[\n1]")
	conf, err := load(config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(conf.Monitor.IP, uint16(conf.Monitor.Port)).String()
	if got := lookJSON(t.Context(), wire.Dialer{}, addr); got != `{"show":[1],"checks":[1]}` {
		t.Errorf("%q", got)
	}
	if a, b := <-asked, <-asked; a != "show --json" || b != "checks --json" {
		t.Errorf("asked %q, %q", a, b)
	}
	if got := lookJSON(t.Context(), wire.Dialer{}, "127.0.0.1:1"); !strings.HasPrefix(got,
		`{"error":"connect to 127.0.0.1:1`) {
		t.Errorf("%q", got)
	}
	load, _ = monitor(t, "ERROR: starting")
	if conf, err = load(config.Source{}); err != nil {
		t.Fatal(err)
	}
	addr = netip.AddrPortFrom(conf.Monitor.IP, uint16(conf.Monitor.Port)).String()
	if got := lookJSON(t.Context(), wire.Dialer{}, addr); !strings.HasPrefix(got,
		`{"error":"read the monitor's answers: `) {
		t.Errorf("%q", got)
	}
}
