package monitor

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/store"
)

// rightServers is a ring of two masters with a slave, about which there is nothing to say while db1 is the writer.
func rightServers() map[string]Surveyed {
	servers := map[string]Surveyed{}
	for i, source := range []int{2, 1, 1} {
		name := fmt.Sprintf("db%d", i+1)
		servers[name] = Surveyed{Host: name, Survey: mysqlctl.Survey{
			Settings: mysqlctl.Settings{ServerID: uint32(i + 1), LogBin: true, LogSlaveUpdates: true, GTIDMode: "ON",
				AutoIncrementIncrement: 2, AutoIncrementOffset: i%2 + 1},
			SemiSync: mysqlctl.SemiSync{Enabled: true, Waiting: true, Clients: 1},
			Replica: &mysqlctl.Replica{SourceHost: fmt.Sprintf("10.0.0.%d", source), SourceID: uint32(source),
				IORunning: "Yes", SQLRunning: "Yes"},
		}}
	}
	return servers
}

// writerOn is a state in which the host has the writer role and everybody knows.
func writerOn(host string) cluster.State {
	return cluster.State{Mode: cluster.Active, Addresses: []cluster.Address{{RoleIP: cluster.RoleIP{Role: "writer"},
		Holder: host, Confirmed: true}}}
}

// knownFrom is what a monitor knows of the identity of the servers after these surveys.
func knownFrom(servers map[string]Surveyed) identity.Known {
	r := newReceptions(topology())
	for range 2 { // twice, as the source of a server can be named only once all servers have said who they are
		for _, s := range servers {
			r.survey(s, 1)
		}
	}
	return r.servers
}

func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s map[string]Surveyed, st *cluster.State)
		want   string // the texts of all findings; quiet ones in brackets, fickle ones with a tilde
	}{
		"nothing":               {func(map[string]Surveyed, *cluster.State) {}, ""},
		"nobody could be asked": {func(s map[string]Surveyed, _ *cluster.State) { clear(s) }, ""},
		"only the writer could be asked": {func(s map[string]Surveyed,
			_ *cluster.State) {
			delete(s, "db2")
			delete(s, "db3")
		}, ""},
		"no binary log": {edit("db2", func(s *Surveyed) {
			s.Survey.Settings.LogBin, s.Survey.Settings.LogSlaveUpdates = false, false
		}), "'db2' writes no binary log (log_bin): nobody can replicate from it"},
		"log_slave_updates": {edit("db1", func(s *Surveyed) { s.Survey.Settings.LogSlaveUpdates = false }),
			"'db1' does not log what it replicates (log_slave_updates): others that replicate from it lack that"},
		"a slave needs neither": {edit("db3", func(s *Surveyed) {
			s.Survey.Settings.LogBin, s.Survey.Settings.LogSlaveUpdates = false, false
		}), ""},
		"server_id": {edit("db3", func(s *Surveyed) { s.Survey.Settings.ServerID = 1 }),
			"server_id is 1 on 'db1', 'db3': they can't replicate from each other"},
		"increment too small": {func(s map[string]Surveyed, _ *cluster.State) {
			for _, h := range []string{"db1", "db2"} {
				x := s[h]
				x.Survey.Settings.AutoIncrementIncrement, x.Survey.Settings.AutoIncrementOffset = 1, 1
				s[h] = x
			}
		},
			"(auto_increment_increment of 'db1' is 1: it should be at least 2, or both masters give out the same ids)\n" +
				"(auto_increment_offset is 1 on both 'db1' and 'db2': they give out the same ids)\n" +
				"(auto_increment_increment of 'db2' is 1: it should be at least 2, or both masters give out the same ids)"},
		"offset ignored": {edit("db1", func(s *Surveyed) { s.Survey.Settings.AutoIncrementOffset = 3 }),
			"(auto_increment_offset of 'db1' (3) is above its auto_increment_increment (2) and ignored by the server)"},
		"increments differ": {edit("db1", func(s *Surveyed) { s.Survey.Settings.AutoIncrementIncrement = 3 }),
			"(auto_increment_increment differs: 3 on 'db1', 2 on 'db2')"},
		"gtid_mode": {edit("db3", func(s *Surveyed) { s.Survey.Settings.GTIDMode = "OFF" }),
			"gtid_mode differs: OFF on 'db3', ON on 'db1', 'db2'"},
		"gtid_strict_mode": {func(s map[string]Surveyed, _ *cluster.State) {
			for h, x := range s {
				x.Survey.Settings.MariaDB, x.Survey.Settings.GTIDMode = true, map[bool]string{true: "OFF", false: "ON"}[h == "db1"]
				s[h] = x
			}
		}, "gtid_strict_mode differs: OFF on 'db1', ON on 'db2', 'db3'"},
		"gives up": {edit("db3", func(s *Surveyed) { s.Survey.Replica.Retries, s.Survey.Replica.RetryEvery = 10, time.Minute }),
			"'db3' gives up after it has tried 10 times, for 10m0s, to connect to the server that it replicates from: set SOURCE_RETRY_COUNT (MASTER_RETRY_COUNT) to 86400"},
		"tries for months": {edit("db3", func(s *Surveyed) {
			s.Survey.Replica.Retries, s.Survey.Replica.RetryEvery = 86400,
				time.Minute
		}), ""},
		"tries for ever, nearly": {edit("db3", func(s *Surveyed) {
			s.Survey.Replica.Retries, s.Survey.Replica.RetryEvery = 1<<64-1,
				time.Hour
		}), ""},
		"semi-sync off on a slave": {edit("db3", func(s *Surveyed) { s.Survey.SemiSync = mysqlctl.SemiSync{} }), ""},
		"semi-sync off on a master": {edit("db2", func(s *Surveyed) { s.Survey.SemiSync = mysqlctl.SemiSync{} }),
			"semi-synchronous replication is off on 'db2': what the writer commits just before it dies may be lost"},
		"semi-sync off on both masters": {func(s map[string]Surveyed, _ *cluster.State) {
			for _, h := range []string{"db1", "db2"} {
				x := s[h]
				x.Survey.SemiSync = mysqlctl.SemiSync{}
				s[h] = x
			}
		},
			"(semi-synchronous replication is off on 'db1', 'db2': what the writer commits just before it dies may be lost)"},
		"fallen back": {edit("db1", func(s *Surveyed) { s.Survey.SemiSync.Waiting = false }),
			"~'db1' has fallen back to asynchronous replication: what it commits may be lost with the host"},
		"nobody acknowledges": {edit("db1", func(s *Surveyed) { s.Survey.SemiSync.Clients = 0 }),
			"~nobody acknowledges what 'db1' commits (semi-synchronous replication): it may be lost with the host"},
		"the other master can wait": {edit("db2", func(s *Surveyed) { s.Survey.SemiSync = mysqlctl.SemiSync{Enabled: true} }),
			""},
		"a slave elsewhere": {edit("db3", func(s *Surveyed) {
			s.Survey.Replica.SourceHost, s.Survey.Replica.SourceID = "10.0.0.2",
				2
		}),
			"~'db3' replicates from 'db2' (10.0.0.2), not from the active master 'db1' (10.0.0.1)"},
		"a slave of a stranger, on a channel": {edit("db3", func(s *Surveyed) {
			s.Channel, s.Survey.Replica.SourceHost,
				s.Survey.Replica.SourceID = "mmm", "db9.example.com", 9
		}),
			`~'db3' replicates from db9.example.com, not from the active master 'db1' (10.0.0.1) on channel "mmm"`},
		"a master elsewhere": {edit("db1", func(s *Surveyed) {
			s.Survey.Replica.SourceHost, s.Survey.Replica.SourceID = "10.0.0.3",
				3
		}),
			"~'db1' replicates from 'db3' (10.0.0.3), not from its peer 'db2' (10.0.0.2)"},
		"another address of the writer": {edit("db3", func(s *Surveyed) { s.Survey.Replica.SourceHost = "172.16.0.1" }), ""},
		"the writer by name": {edit("db3", func(s *Surveyed) { s.Survey.Replica.SourceHost = "db1.example.com" }),
			""},
		"a name of the writer, which it can't reach": {edit("db3", func(s *Surveyed) {
			s.Survey.Replica.SourceHost, s.Survey.Replica.IORunning, s.Resolved = "db1.example.com", "Connecting",
				[]netip.Addr{netip.MustParseAddr("10.0.0.1")}
		}), ""},
		"a name of another host, which it can't reach": {edit("db3", func(s *Surveyed) {
			s.Survey.Replica.SourceHost, s.Survey.Replica.IORunning, s.Resolved = "db2.example.com", "Connecting",
				[]netip.Addr{netip.MustParseAddr("10.0.0.2")}
		}), "~'db3' replicates from 'db2' (db2.example.com), not from the active master 'db1' (10.0.0.1)"},
		"an address of another host on a second network": {edit("db3",
			func(s *Surveyed) { s.Survey.Replica.SourceHost, s.Survey.Replica.SourceID = "172.16.0.2", 2 }),
			"~'db3' replicates from 'db2' (172.16.0.2), not from the active master 'db1' (10.0.0.1)"},
		"an IPv4 address in IPv6": {edit("db3", func(s *Surveyed) {
			s.Survey.Replica.SourceHost,
				s.Survey.Replica.SourceID = "::ffff:10.0.0.1", 0
		}), ""},
		"a name that does not answer": {edit("db3", func(s *Surveyed) {
			s.Survey.Replica.SourceHost,
				s.Survey.Replica.IORunning = "db9.example.com", "Connecting"
		}), ""},
		"an address that does not answer": {edit("db3", func(s *Surveyed) {
			s.Survey.Replica.SourceHost,
				s.Survey.Replica.IORunning = "10.0.0.9", "Connecting"
		}),
			"~'db3' replicates from 10.0.0.9, not from the active master 'db1' (10.0.0.1)"},
		"not set up": {edit("db3", func(s *Surveyed) { s.Survey.Replica = nil }), ""}, // its check says so
		"the writer has moved": {func(_ map[string]Surveyed, st *cluster.State) { *st = writerOn("db2") },
			"~'db3' replicates from 'db1' (10.0.0.1), not from the active master 'db2' (10.0.0.2)"},
		"the writer moves": {func(_ map[string]Surveyed, st *cluster.State) {
			*st = writerOn("db2")
			st.Addresses[0].Confirmed = false
		}, ""},
		"the writer is to leave": {func(_ map[string]Surveyed, st *cluster.State) {
			*st = writerOn("")
			st.Addresses[0].Leaving = "db2"
		}, ""},
		"the last writer has not left": {func(_ map[string]Surveyed, st *cluster.State) {
			*st = writerOn("db2")
			st.Addresses[0].Leaving = "db1"
		}, ""},
		"passive": {func(_ map[string]Surveyed, st *cluster.State) {
			*st = writerOn("db2")
			st.Mode = cluster.Passive
		}, ""},
	} {
		servers, state := rightServers(), writerOn("db1")
		c.change(servers, &state)
		var got []string
		for _, f := range findings(topology(), state, servers, knownFrom(servers)) {
			text := f.text
			if f.quiet {
				text = "(" + text + ")"
			}
			if f.fickle {
				text = "~" + text
			}
			got = append(got, text)
		}
		if all := strings.Join(got, "\n"); all != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, all, c.want)
		}
	}
}

func edit(host string, f func(s *Surveyed)) func(map[string]Surveyed, *cluster.State) {
	return func(servers map[string]Surveyed, _ *cluster.State) {
		s := servers[host]
		f(&s)
		servers[host] = s
	}
}

// People are told of a fickle finding once it has lasted for the grace, and not before.
func TestNotices(t *testing.T) {
	n := notices{grace: 10 * time.Second}
	calm, fickle := finding{text: "calm"}, finding{text: "fickle", fickle: true}
	for i, c := range []struct {
		at    int
		found []finding
		want  string
	}{
		{1, []finding{calm, fickle}, "+calm"},
		{10, []finding{calm, fickle}, ""},
		{11, []finding{fickle}, "-calm+fickle"},
		{12, nil, "-fickle"},
		{13, []finding{fickle}, ""},
		{22, nil, ""},
		{23, []finding{fickle, calm}, "+calm"},
		{33, []finding{fickle, calm}, "+fickle"},
	} {
		came, gone := n.update(c.found, time.Duration(c.at)*time.Second)
		got := ""
		for _, f := range gone {
			got += "-" + f.text
		}
		for _, f := range came {
			got += "+" + f.text
		}
		if got != c.want {
			t.Errorf("step %d: %q, want %q", i+1, got, c.want)
		}
	}
}

// TestRefusals: a server that refuses the monitor is reported once for each host, in `show` and in the log, for as long
// as it refuses.
func TestRefusals(t *testing.T) {
	var log strings.Builder
	o := &owner{m: New(Config{Topology: topology(), Checks: Checks{Registry: check.Known()},
		Log: slog.New(slog.NewTextHandler(&log, nil))}),
		state: writerOn("db1"), up: true,
		surveys: map[string]Surveyed{}, received: newReceptions(topology())}
	refused := check.Result{Status: check.Unknown, Message: "UNKNOWN: x",
		Refusal: "user mon: Error 4151; this mends it: ALTER USER"}
	for _, u := range []check.Update{
		{Host: "db2", Name: check.MySQL, Result: refused}, {Host: "db2", Name: check.RepThreads, Result: refused},
		{Host: "db3", Name: check.MySQL, Result: check.Result{Message: "OK"}},
		{Host: "db3", Name: check.RepBacklog, Result: refused},
	} {
		o.checkTable = o.checkTable.with(u)
	}
	o.look()
	const why = ", so its state stays as it is: user mon: Error 4151; this mends it: ALTER USER"
	want := []string{"the server of 'db2' answers, but not to the monitor's check mysql" + why,
		"the server of 'db3' answers, but not to the monitor's check rep_backlog" + why}
	if !slices.Equal(o.warnings, want) || strings.Count(log.String(), "level=WARN") != 2 {
		t.Errorf("warnings %q, log\n%s", o.warnings, &log)
	}
	o.checkTable = nil
	if o.look(); len(o.warnings) > 0 || strings.Count(log.String(), "No longer: the server of") != 2 {
		t.Errorf("when it is mended: %q, log\n%s", o.warnings, &log)
	}
}

// What a server said before it died is no warning. While the monitor's own network is down the warnings don't change.
func TestOnlyTheLivingAreJudged(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	o := &owner{m: New(Config{Topology: topology(), Log: quiet}), state: writerOn("db1"), up: true,
		surveys: map[string]Surveyed{}, received: newReceptions(topology()),
		good: map[string]cluster.Verdicts{"db1": {MySQL: true}, "db2": {MySQL: true}, "db3": {MySQL: true}}}
	s := rightServers()["db2"]
	s.Survey.Settings.LogBin = false
	o.survey(s)
	if len(o.warnings) != 1 {
		t.Fatalf("warnings %q", o.warnings)
	}
	o.good["db2"] = cluster.Verdicts{Ping: true}
	o.up = false
	if o.look(); len(o.warnings) != 1 {
		t.Errorf("without a network: %q", o.warnings)
	}
	o.up = true
	if o.look(); len(o.warnings) != 0 {
		t.Errorf("of a dead server: %q", o.warnings)
	}
}

type task func(ctx context.Context) error

func (f task) Run(ctx context.Context) error { return f(ctx) }

// A slave with the wrong source is reported in `show`, in `checks` and in the log until it has the right one. A move of
// the writer role alone is not reported.
func TestWrongSourceIsShown(t *testing.T) {
	status := filepath.Join(t.TempDir(), "status")
	synctest.Test(t, func(t *testing.T) {
		const text = "'db3' replicates from 'db2' (10.0.0.2), not from the active master 'db1' (10.0.0.1)"
		var log strings.Builder // written by one goroutine, and read while that is at rest
		told := make(chan Surveyed)
		a := &agents{hang: map[string]bool{}, down: map[string]bool{}}
		top := topology()
		m := New(Config{Topology: top, Mode: cluster.Active, StatusPath: status, Store: store.NewFile(status, durable.Disk{}),
			KillBin: "/nonexistent/kill_host",
			Agents:  a, AgentPorts: map[string]int{},
			Log: slog.New(slog.NewTextHandler(io.MultiWriter(&log), nil)),
			Checks: Checks{
				Registry: check.Known(),
				Network:  func(doubt <-chan struct{}, emit func(bool)) Task { return upAlways{doubt, emit} },
				Hosts:    func(emit func(check.Update)) []Task { return goodChecks(top, emit) },
				Lasting:  2 * time.Second,
				Servers: func(emit func(Surveyed)) []Task {
					return []Task{task(func(ctx context.Context) error {
						for {
							select {
							case s := <-told:
								emit(s)
							case <-ctx.Done():
								return nil
							}
						}
					})}
				},
			}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		say := func(line string) string { return m.Handle(context.Background(), line) }
		after := func(d time.Duration, servers map[string]Surveyed) {
			for _, s := range servers {
				told <- s
			}
			time.Sleep(d)
			synctest.Wait()
		}
		expect := func(when string, want bool) {
			t.Helper()
			show, line := say("show"), say("checks db3 rep_threads")
			shown := slices.Contains(strings.Split(show, "\n"), "# Warning: "+text)
			remarked := strings.HasSuffix(line, "]  OK; "+strings.TrimPrefix(text, "'db3' "))
			if shown != want || remarked != want || !want &&
				(strings.Contains(show, "replicates") || !strings.HasSuffix(line, "]  OK")) {
				t.Errorf("%s: show\n%schecks %s", when, show, line)
			}
		}
		after(5*time.Second, rightServers())
		expect("at first", false)
		astray := rightServers()
		edit("db3", func(s *Surveyed) { s.Survey.Replica.SourceHost, s.Survey.Replica.SourceID = "10.0.0.2", 2 })(astray, nil)
		after(time.Second, astray)
		expect("after a moment", false)
		after(2*time.Second, astray)
		expect("when it has lasted", true)
		after(time.Second, rightServers())
		expect("when it is back", false)
		if got := say("move_role writer db2"); !strings.HasPrefix(got, "OK: Role 'writer' has been moved") {
			t.Error(got)
		}
		after(time.Second, astray)
		after(5*time.Second, astray)
		expect("after a switch that it followed", false)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := log.String(); strings.Count(got, "level=WARN msg=\""+text) != 1 ||
			strings.Count(got, "level=INFO msg=\"No longer: "+text) != 1 {
			t.Errorf("log:\n%s", got)
		}
	})
}
