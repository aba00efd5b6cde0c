package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

// sim is a host with its server, all in memory. A test can make each operation fail or block, by its name.
type sim struct {
	mu       sync.Mutex
	present  []netip.Addr
	open     bool
	fail     map[string]error
	block    map[string]chan struct{}
	done     []string
	replica  mysqlctl.Replica
	position mysqlctl.Position
	log      []mysqlctl.Transaction
	changed  chan<- struct{}
	peer     replication.Remote // the other host's server; nil: it is gone
	held     []netip.Addr       // addresses that the announcer was told to hold
	writes   time.Time          // until when a statement runs that writes
	applied  []string           // GTID sets that Applied returns, one after the other; the last one again and again
	next     replication.Remote // the new writer's server; nil: it is gone
	locked   func(mysqlctl.Waiter) ([]string, error)
	notes    notes           // the disk of the replication
	said     strings.Builder // log of the replication
}

func (s *sim) op(ctx context.Context, name string, f func()) error {
	s.mu.Lock()
	wait, err := s.block[name], s.fail[name]
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if name != "list" && name != "writable" && name != "replica" && name != "position" {
		s.done = append(s.done, name)
	}
	f()
	return nil
}

func (s *sim) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *sim) history() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.done, ", ")
}

func (s *sim) List(ctx context.Context) (ips []netip.Addr, err error) {
	err = s.op(ctx, "list", func() { ips = slices.Clone(s.present) })
	return ips, err
}
func (s *sim) Add(ctx context.Context, ip netip.Addr, _ time.Duration) error {
	return s.op(ctx, "add "+ip.String(), func() { s.present = append(s.present, ip) })
}
func (s *sim) Remove(ctx context.Context, ip netip.Addr) error {
	return s.op(ctx, "remove "+ip.String(), func() {
		s.present = slices.DeleteFunc(s.present, func(p netip.Addr) bool { return p == ip })
	})
}
func (s *sim) Renew(ctx context.Context, ip netip.Addr, _ time.Duration) error {
	return s.op(ctx, "list", func() {})
}
func (s *sim) Watch(ctx context.Context, changed chan<- struct{}) error {
	s.set(func() { s.changed = changed })
	<-ctx.Done()
	return nil
}
func (s *sim) Announce(netip.Addr) {}
func (s *sim) Hold(ip netip.Addr) {
	s.set(func() { s.held = append(s.held, ip) })
}
func (s *sim) Forget(netip.Addr) {}
func (s *sim) Writable(ctx context.Context) (open bool, err error) {
	err = s.op(ctx, "writable", func() { open = s.open })
	return open, err
}
func (s *sim) DenyWrites(ctx context.Context, d mysqlctl.Deny) error {
	if d.Ready != nil && s.fail["deny"] == nil {
		d.Ready()
	}
	if err := s.outlast(ctx, d.Grace); err != nil {
		return err
	}
	return s.op(ctx, "deny", func() { s.open = false })
}
func (s *sim) AllowWrites(ctx context.Context) error {
	return s.op(ctx, "allow", func() { s.open = true })
}
func (s *sim) EndClients(ctx context.Context, grace time.Duration) (int, error) {
	if err := s.outlast(ctx, grace); err != nil {
		return 0, err
	}
	return 0, s.op(ctx, "end clients", func() {})
}

// outlast waits for the end of the statement that writes, and kills it after the grace, as mysqlctl.Server does.
func (s *sim) outlast(ctx context.Context, grace time.Duration) error {
	s.mu.Lock()
	left := time.Until(s.writes)
	s.mu.Unlock()
	if left <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(left, grace)):
	}
	if left <= grace {
		return nil
	}
	return s.op(ctx, "kill", func() { s.writes = time.Time{} })
}
func (s *sim) Replica(ctx context.Context) (r mysqlctl.Replica, err error) {
	err = s.op(ctx, "replica", func() { r = s.replica })
	return r, err
}
func (s *sim) Position(ctx context.Context) (p mysqlctl.Position, err error) {
	err = s.op(ctx, "position", func() { p = s.position })
	return p, err
}
func (s *sim) WaitExecuted(ctx context.Context, p mysqlctl.Position) error {
	return s.op(ctx, "wait "+p.String(), func() {
		if c, _ := s.replica.Executed.Compare(p); c < 0 {
			s.replica.Executed = p
		}
	})
}
func (s *sim) CheckSource(context.Context, mysqlctl.Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail["check source"]
}
func (s *sim) Repoint(ctx context.Context, src mysqlctl.Source) error {
	return s.op(ctx, "repoint "+src.Host+" "+src.Start.String(), func() { s.replica.SourceHost = src.Host })
}
func (s *sim) StopReplication(ctx context.Context) error {
	return s.op(ctx, "stop replication", func() { s.replica.IORunning, s.replica.SQLRunning = "No", "No" })
}
func (s *sim) StartReplication(ctx context.Context) error {
	return s.op(ctx, "start replication", func() { s.replica.IORunning, s.replica.SQLRunning = "Yes", "Yes" })
}

func (s *sim) StopReceiving(ctx context.Context) error {
	return s.op(ctx, "stop receiving", func() {
		s.replica.IORunning = "No"
		if s.replica.SQLRunning == "Yes" {
			s.replica.Executed = s.replica.Received
		}
	})
}
func (s *sim) Aim(ctx context.Context, src mysqlctl.Source) error {
	return s.op(ctx, "aim "+src.Host, func() { s.replica.SourceHost = src.Host })
}
func (s *sim) Transactions(ctx context.Context, start, end mysqlctl.Position, _ int) (list []mysqlctl.Transaction,
	err error) {
	err = s.op(ctx, "transactions", func() { list = s.log })
	return list, err
}
func (s *sim) ServerID(ctx context.Context) (id uint32, err error) {
	err = s.op(ctx, "server id", func() { id = 2 })
	return id, err
}
func (s *sim) WaitGTIDs(ctx context.Context, set string) error {
	return s.op(ctx, "wait "+set, func() {})
}
func (s *sim) Applied(ctx context.Context) (set string, err error) {
	err = s.op(ctx, "position", func() {
		if len(s.applied) > 0 {
			set = s.applied[0]
			s.applied = s.applied[min(1, len(s.applied)-1):]
		}
	})
	return set, err
}
func (s *sim) Names() []string { return []string{"db1", "db2"} }

func (s *sim) Addresses(source string) []netip.Addr {
	return identity.Known{Resolved: map[string][]netip.Addr{
		"db1.example.com":    {netip.MustParseAddr("10.0.0.1")},
		"writer.example.com": {netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("2001:db8::64")},
	}}.Addresses(source)
}

func (s *sim) Source(r mysqlctl.Replica) (string, replication.Remote, bool) {
	hosts := []identity.Host{{Name: "db1", IP: netip.MustParseAddr("10.0.0.1"), ID: 1},
		{Name: "db2", IP: netip.MustParseAddr("10.0.0.2"), ID: 2}}
	names := map[string]identity.Names{"db1.example.com": {Resolved: []netip.Addr{hosts[0].IP}}}
	name, ok := identity.Of(hosts, identity.SourceOf(r), names[r.SourceHost])
	if !ok {
		return "", nil, false
	}
	if s.peer != nil {
		return name, s.peer, ok
	}
	return name, deadRemote{}, ok
}
func (s *sim) ByName(name string) (string, replication.Remote, bool) {
	ip, ok := map[string]string{"db1": "10.0.0.1", "db2": "10.0.0.2"}[name]
	if s.next != nil && name == "db2" {
		return ip, s.next, ok
	}
	if s.peer != nil {
		return ip, s.peer, ok
	}
	return ip, deadRemote{}, ok
}

// deadRemote is the server of a host that is gone.
type deadRemote struct{}

var errGone = errors.New("connection refused")

func (deadRemote) Replica(context.Context) (mysqlctl.Replica, error) {
	return mysqlctl.Replica{}, errGone
}
func (deadRemote) Position(context.Context) (mysqlctl.Position, error) {
	return mysqlctl.Position{}, errGone
}
func (deadRemote) GTIDs(context.Context) (string, error)         { return "", errGone }
func (deadRemote) Lost(context.Context, string) (string, error)  { return "", errGone }
func (deadRemote) Lacks(context.Context, string) (string, error) { return "", errGone }
func (deadRemote) Writable(context.Context) (bool, error)        { return false, errGone }
func (deadRemote) Transactions(context.Context, mysqlctl.Position, mysqlctl.Position, int) ([]mysqlctl.Transaction,
	error) {
	return nil, errGone
}

func at(offset uint64) mysqlctl.Position {
	return mysqlctl.Position{File: "bin.000001", Offset: offset}
}

// replicating is the replication of a sim's server.
func (s *sim) replicating(st Site) *replication.Replication {
	c := st.Replication()
	c.Local, c.Peers, c.Disk, c.StatePath, c.Log = s, s, &s.notes, "state", slog.New(slog.NewTextHandler(&s.said, nil))
	c.Sources = func(host string) (replication.Source, bool) {
		ip, _, ok := s.ByName(host)
		return replication.Source{Host: ip, Port: 3306}, ok
	}
	return replication.New(c)
}

// notes is a disk in memory.
type notes struct {
	mu      sync.Mutex
	content map[string]string
}

func (n *notes) ReadFile(path string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, ok := n.content[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

func (n *notes) Replace(path string, content []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.content == nil {
		n.content = map[string]string{}
	}
	n.content[path] = string(content)
	return nil
}

// run gives f an agent of db2, in virtual time.
func run(t *testing.T, slave bool, f func(s *sim, say func(order cluster.Order) wire.Answer, a *Agent)) {
	runNoted(t, slave, "", f)
}

// runNoted is run where a former agent has left the note embargo: from whom this host replicates nothing more.
func runNoted(t *testing.T, slave bool, embargo string, f func(s *sim, say func(order cluster.Order) wire.Answer,
	a *Agent)) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{fail: map[string]error{}, block: map[string]chan struct{}{}, position: at(500),
			replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "Yes", SQLRunning: "Yes", Received: at(100),
				Executed: at(90)}}
		if embargo != "" {
			s.notes.content = map[string]string{"state.embargo": embargo}
		}
		st := site()
		st.Host, st.Slave, st.MayWrite = "db2", slave, !slave
		a := New(Config{Site: st, Endpoints: vips(s), Watch: s, Announce: s, Gate: s, Local: s, Locks: s, Peers: s,
			Replication: s.replicating(st),
			Uptime:      func() (float64, error) { return 77.5, nil }, Version: "1.0",
			Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		synctest.Wait()
		f(s, func(o cluster.Order) wire.Answer {
			answer, err := wire.ParseAnswer(a.Handle(ctx, wire.OrderRequest("db2", o).String()))
			if err != nil {
				t.Error(err)
			}
			return answer
		}, a)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func order(roles ...cluster.RoleIP) cluster.Order {
	return cluster.Order{State: cluster.Online, Roles: roles, Master: "db2", Extended: true, Seq: 7}
}

// TestRepeats: an order repeats the last one if nothing but its echo differs, whatever field of an order it is.
func TestRepeats(t *testing.T) {
	fields := reflect.TypeFor[cluster.Order]()
	for i := range fields.NumField() {
		last, next := order(reader1), order(reader1)
		field := reflect.ValueOf(&next).Elem().Field(i)
		if first := field; field.Kind() == reflect.Struct {
			for first.Kind() == reflect.Struct {
				first = first.Field(0)
			}
			field = first
		}
		switch field.Kind() {
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Int64:
			field.SetInt(field.Int() + 1)
		case reflect.Uint64:
			field.SetUint(field.Uint() + 1)
		case reflect.Slice:
			field.SetLen(0)
		default:
			t.Fatalf("%s can't be changed: teach this test its kind", fields.Field(i).Name)
		}
		name := fields.Field(i).Name
		for _, c := range []struct{ last, next cluster.Order }{{last, next}, {next, last}} {
			o := &owner{order: &c.last, settled: true}
			if got := o.repeats(c.next); got != (name == "Echo") {
				t.Errorf("%s differs, and the order counts as repeated: %v", name, got)
			}
		}
	}
}

func TestBecomeWriterAndLeave(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		a := say(order(reader1, writer))
		r := wire.ParseReport(a)
		if !a.OK() || r.Seq != 7 || len(r.Have) != 2 || r.Writable != wire.Yes ||
			r.Switch != (cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}) {
			t.Errorf("answer %v", a)
		}
		if got, want := s.history(), "add 10.0.0.101, stop receiving, allow, add 10.0.0.100"; got != want {
			t.Errorf("it did %s, want %s", got, want)
		}
		s.set(func() { s.done = nil })
		a = say(order(reader1))
		if r := wire.ParseReport(a); !a.OK() || len(r.Have) != 1 || r.Writable != wire.No {
			t.Errorf("answer %v", a)
		}
		synctest.Wait()
		if got, want := s.history(), "deny, end clients, remove 10.0.0.100, end clients"; got != want {
			t.Errorf("it did %s, want %s", got, want)
		}
	})
}

// TestCatchUpFails: a host that can't catch up gets neither the writer's address nor writes, and the monitor hears of
// it. The next round starts from the beginning.
func TestCatchUpFails(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		s.set(func() { s.replica.SQLRunning = "No" })
		a := say(order(writer))
		if r := wire.ParseReport(a); a.OK() || len(r.Have) != 0 || r.Writable != wire.No || len(r.Problems) != 1 {
			t.Errorf("answer %v", a)
		}
		time.Sleep(10 * time.Second) // for rounds without an order
		if got := strings.ReplaceAll(s.history()+", ", "stop receiving, ", ""); got != "" {
			t.Errorf("it did %s", got)
		}
		s.set(func() { s.replica.SQLRunning = "Yes"; s.done = nil })
		time.Sleep(2 * time.Second)
		if got, want := s.history(), "stop receiving, allow, add 10.0.0.100"; got != want {
			t.Errorf("it did %s, want %s", got, want)
		}
	})
}

// TestDenyFails: where the server can't be closed for writes the writer's address goes all the same, and the answer
// says that the server is still open. In a planned move the address stays, as the role does: clients of the writer
// notice nothing. Under an original monitor it goes in a planned move too, as that monitor takes any answer for
// success.
func TestDenyFails(t *testing.T) {
	for name, c := range map[string]struct {
		state   cluster.HostState
		classic bool
		have    int
	}{
		"planned":          {cluster.Online, false, 1},
		"set_offline":      {cluster.AdminOffline, false, 0},
		"failover":         {cluster.HardOffline, false, 0},
		"original monitor": {cluster.Online, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
				say(order(writer))
				s.set(func() { s.fail["deny"] = errors.New("no answer") })
				o := order()
				o.State, o.Extended = c.state, !c.classic
				a := say(o)
				if r := wire.ParseReport(a); a.OK() || !c.classic &&
					(len(r.Have) != c.have || r.Writable != wire.Yes || len(r.Problems) != 1) {
					t.Errorf("answer %v", a)
				}
				if got := len(s.present); got != c.have {
					t.Errorf("it has %d addresses, want %d", got, c.have)
				}
			})
		})
	}
}

// TestUnseenAddresses: a host whose kernel does not list its addresses does not tell the monitor that it has none:
// there would be a second writer. It takes the writer's address off all the same, by what it knew before, and says so
// once the kernel answers.
func TestUnseenAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		fails string // besides the list of the addresses
		want  string
	}{
		"only the list":     {"", "deny, end clients, remove 10.0.0.100"},
		"nothing goes well": {"remove 10.0.0.100", "deny, end clients"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
				say(order(reader1, writer))
				synctest.Wait()
				s.set(func() {
					s.done = nil
					s.fail["list"], s.fail[c.fails] = errors.New("no answer"), errors.New("no answer")
				})
				a := say(order(reader1))
				if r := wire.ParseReport(a); a.OK() || !slices.Contains(r.Have, writer) || r.Writable != wire.No {
					t.Errorf("while nobody knows: %v", a)
				}
				synctest.Wait()
				if got := s.history(); !strings.HasPrefix(got, c.want) {
					t.Errorf("it did %s, want %s", got, c.want)
				}
				s.set(func() { s.fail = map[string]error{} })
				time.Sleep(2 * time.Second)
				a = say(order(reader1))
				if r := wire.ParseReport(a); !a.OK() || !slices.Equal(r.Have, []cluster.RoleIP{reader1}) {
					t.Errorf("when it is known: %v", a)
				}
			})
		})
	}
}

// TestUnseenAtStart: nor does an agent that has just started say that its host has no addresses while the kernel does
// not list them.
func TestUnseenAtStart(t *testing.T) {
	for _, classic := range []bool{false, true} {
		run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
			s.set(func() { s.present = []netip.Addr{writer.IP}; s.fail["list"] = errors.New("no answer") })
			got := a.Handle(context.Background(), "GET_SYSTEM_STATUS|1|db2")
			if !strings.HasPrefix(got, "ERROR: list addresses: no answer") {
				t.Errorf("GET_SYSTEM_STATUS: %s", got)
			}
			o := order()
			o.Extended = !classic
			answer := say(o)
			if r := wire.ParseReport(answer); answer.OK() || !classic && !slices.Contains(r.Have, writer) {
				t.Errorf("answer %v", answer)
			}
		})
	}
}

// TestBusy: an order that takes long is answered with what the host has so far; the agent answers other requests
// meanwhile, and obeys a newer order.
func TestBusy(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
		s.set(func() { s.block["stop receiving"] = make(chan struct{}) })
		began := time.Now()
		answer := say(order(reader1, writer))
		if r := wire.ParseReport(answer); answer.OK() || !r.Busy || !slices.Equal(r.Have, []cluster.RoleIP{reader1}) {
			t.Errorf("answer %v", answer)
		}
		if d := time.Since(began); d != patience {
			t.Errorf("after %v", d)
		}
		if got := a.Handle(context.Background(), "PING|1|db2"); got != "OK: Pinged!|UP:77.50" {
			t.Errorf("PING: %s", got)
		}
		if got, want := a.Handle(context.Background(), "GET_AGENT_STATUS|1|db2"),
			"OK: Returning status!|ONLINE|reader(10.0.0.101),writer(10.0.0.100)|db2|UP:77.50"; got != want {
			t.Errorf("GET_AGENT_STATUS: %s, want %s", got, want)
		}
		answer = say(order(reader2))
		if r := wire.ParseReport(answer); !answer.OK() || !slices.Equal(r.Have, []cluster.RoleIP{reader2}) {
			t.Errorf("answer %v", answer)
		}
	})
}

// TestAdopt: an agent that starts leaves a writer at work alone, before and after the first order.
func TestAdopt(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		s.set(func() { s.present, s.open = []netip.Addr{writer.IP, reader1.IP}, true })
		time.Sleep(5 * time.Second)
		if a := say(order(reader1, writer)); !a.OK() {
			t.Errorf("answer %v", a)
		}
		if got := s.history(); got != "" {
			t.Errorf("it did %s", got)
		}
		// It counts as opened: should the server restart read-only, it is opened again without catching up.
		s.set(func() { s.open = false })
		time.Sleep(2 * time.Second)
		if got := s.history(); got != "allow" {
			t.Errorf("it did %s", got)
		}
	})
}

// TestMend: an address that somebody took off is put back as soon as the kernel reports the change.
func TestMend(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		say(order(reader1))
		s.set(func() { s.present, s.done = nil, nil })
		began := time.Now()
		s.changed <- struct{}{}
		synctest.Wait()
		if got := s.history(); got != "add 10.0.0.101" || time.Since(began) > 0 {
			t.Errorf("after %v it did %s", time.Since(began), got)
		}
	})
}

// TestClassicMonitor: an order without extras gets an answer without extras, to the letter.
func TestClassicMonitor(t *testing.T) {
	run(t, false, func(_ *sim, _ func(cluster.Order) wire.Answer, a *Agent) {
		for line, want := range map[string]string{
			"SET_STATUS|1|db2|ONLINE|reader(10.0.0.101)|db1": "OK: Status applied successfully!|UP:77.50",
			"PING|2|db2|":             "OK: Pinged!|UP:77.50",
			"PING":                    "ERROR: Invalid command 'PING'!|UP:77.50",
			"PING|1|db1":              "ERROR: Invalid hostname in command (db1)! My name is 'db2'|UP:77.50",
			"BOGUS|1|db2":             "ERROR: Invalid command 'BOGUS'!|UP:77.50",
			"":                        "ERROR: Invalid command ''!|UP:77.50",
			"GET_AGENT_VERSION|1|db2": "1.0|UP:77.50",
		} {
			if got := a.Handle(context.Background(), line); got != want {
				t.Errorf("%s: %s, want %s", line, got, want)
			}
		}
		if got, want := a.Handle(context.Background(), "GET_SYSTEM_STATUS|1|db2"),
			"OK: Returning status!||reader(10.0.0.101)|10.0.0.1|UP:77.50"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := a.Handle(context.Background(), "CLEAR_BAD_ROLES|1|db2"),
			"OK: Removed 0 roles|UP:77.50"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestFollow: a slave is moved to the exact place in the new writer's log, or stays where it is and says why.
func TestFollow(t *testing.T) {
	sw := cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
	for _, c := range []struct {
		name     string
		executed uint64
		gtid     bool
		sw       cluster.Switch
		want     string
		problem  string
	}{
		{"level", 100, false, sw, "wait bin.000001:100, stop replication, repoint 10.0.0.2 bin.000001:500", ""},
		{"behind", 90, false, sw, "wait bin.000001:100, stop replication, repoint 10.0.0.2 bin.000001:500", ""},
		{"ahead", 120, false, sw, "wait bin.000001:100, stop replication, start replication",
			"Couldn't change active master to 'db2': this slave has executed bin.000001:120 of db1, the new writer only bin.000001:100 when it took over: it has transactions that 'db2' lacks"},
		{"ahead with GTID", 120, true, sw, "wait bin.000001:100",
			"Couldn't change active master to 'db2': this slave has executed"},
		{"with GTID", 90, true, sw, "wait bin.000001:100, stop replication, repoint 10.0.0.2 ", ""},
		{"not yet told where", 100, false, cluster.Switch{From: "db1", To: "db2"}, "", ""},
		{"told nothing, former writer gone", 100, false, cluster.Switch{}, "wait bin.000001:100",
			"Couldn't change active master to 'db2': find the place in the log of 'db2'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
				s.set(func() { s.replica.Executed, s.replica.UsesGTID = at(c.executed), c.gtid })
				o := order()
				o.Switch = c.sw
				say(o)
				synctest.Wait()
				if got := s.history(); got != c.want {
					t.Errorf("it did %s, want %s", got, c.want)
				}
				a := say(o)
				if p := strings.Join(wire.ParseReport(a).Problems, "; "); !strings.HasPrefix(p, c.problem) ||
					(c.problem == "") != a.OK() {
					t.Errorf("answer %v", a)
				}
				if got, want := wire.ParseReport(a).Astray, strings.HasPrefix(c.name, "ahead"); got != want {
					t.Errorf("astray: %v, want %v", got, want)
				}
				s.set(func() { s.replica.Executed = at(c.executed + 7) }) // the slave executes more of its old source
				say(o)
				synctest.Wait()
				if now := say(o); c.executed == 120 && now.Text != a.Text {
					t.Errorf("the same trouble was %v, and is now %v", a, now)
				}
				s.set(func() { s.replica.SourceHost = "10.0.0.2" }) // somebody has set it up anew
				say(o)
				synctest.Wait()
				if wire.ParseReport(say(o)).Astray {
					t.Error("astray after it was set up anew")
				}
			})
		})
	}
}

// TestFollowRefused: a slave whose server would refuse the new source says so, and its replication is not stopped for
// it.
func TestFollowRefused(t *testing.T) {
	run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		s.set(func() { s.replica.Executed, s.fail["check source"] = at(100), mysqlctl.ErrLimit })
		o := order()
		o.Switch = cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
		say(o)
		synctest.Wait()
		a := say(o)
		if p := strings.Join(wire.ParseReport(a).Problems, "; "); p != "Couldn't change active master to 'db2': "+
			mysqlctl.ErrLimit.Error() {
			t.Errorf("answer %v", a)
		}
		if got := s.history(); got != "" {
			t.Errorf("it did %s", got)
		}
	})
}

// has is the server of a new writer that has the transactions in sets, and gets those in later at a certain time.
type has struct {
	deadRemote
	replica mysqlctl.Replica
	sets    []string
	later   []string
	at      time.Time // when it has those in later
	fail    error
}

func (h *has) Replica(context.Context) (mysqlctl.Replica, error) { return h.replica, nil }
func (h *has) Lacks(_ context.Context, applied string) (string, error) {
	if slices.Contains(h.sets, applied) || slices.Contains(h.later, applied) && !time.Now().Before(h.at) {
		return "", h.fail
	}
	return applied, h.fail
}

// TestFollowByGTID: a slave that has transactions which the new writer lacks is not moved, and names them. Transactions
// that are on their way to the new writer are waited for.
func TestFollowByGTID(t *testing.T) {
	replicates := mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "Yes", SQLRunning: "Yes"}
	const waits, stops = "wait bin.000001:100", ", stop replication"
	for name, c := range map[string]struct {
		applied []string
		next    *has
		old     replication.Remote
		want    string
		problem string
	}{
		"level": {[]string{"a:1-5"}, &has{sets: []string{"a:1-5"}}, nil, waits + stops + ", repoint 10.0.0.2 ",
			""},
		"on its way": {[]string{"a:1-5"}, &has{later: []string{"a:1-5"}, at: time.Time{}}, returned{}, waits + stops +
			", repoint 10.0.0.2 ", ""},
		"the returning writer's own": {[]string{"a:1-9"}, &has{sets: []string{"a:1-5"}}, returned{}, waits,
			"Couldn't change active master to 'db2': this slave has transactions that 'db2' lacks (GTID a:1-9): it must be set up anew"},
		"a dead writer's": {[]string{"a:1-9"}, &has{replica: replicates}, nil, waits,
			"Couldn't change active master to 'db2': this slave has transactions that 'db2' lacks"},
		"the new writer is slow": {[]string{"a:1-9"}, &has{replica: replicates}, returned{}, waits,
			"Couldn't change active master to 'db2': this slave has transactions that 'db2' has not executed yet (GTID a:1-9): it waits"},
		"pulled in meanwhile": {[]string{"a:1-5", "a:1-9"}, &has{sets: []string{"a:1-5"}}, returned{}, waits + stops +
			", start replication",
			"Couldn't change active master to 'db2': this slave has transactions that 'db2' lacks (GTID a:1-9)"},
		"the new writer does not answer": {[]string{"a:1-5"}, &has{fail: errGone}, nil, waits,
			"Couldn't change active master to 'db2': ask 'db2' whether it has all that this slave has: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
				c.next.at = time.Now().Add(time.Second)
				s.set(func() { s.replica.UsesGTID, s.applied, s.next, s.peer = true, c.applied, c.next, c.old })
				o := order()
				o.Switch = cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
				say(o)
				time.Sleep(2*time.Second + 100*time.Millisecond) // for transactions on their way
				if got := s.history(); got != c.want {
					t.Errorf("it did %s, want %s", got, c.want)
				}
				a := say(o)
				if p := strings.Join(wire.ParseReport(a).Problems, "; "); !strings.HasPrefix(p, c.problem) ||
					(c.problem == "") != a.OK() {
					t.Errorf("answer %v", a)
				}
			})
		})
	}
}

// TestClosingInterrupted: where a newer order interrupts a round that has closed the server, the clients of a former
// writer are ended all the same, and those of a host that is the writer again are left alone.
func TestClosingInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		next cluster.Order
		want string
	}{
		"still no writer": {order(), "deny, end clients, remove 10.0.0.100, end clients"},
		"writer again":    {order(writer), "deny, end clients, remove 10.0.0.100, allow, add 10.0.0.100"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
				say(order(writer))
				s.set(func() { s.done, s.block["add 10.0.0.101"] = nil, make(chan struct{}) })
				interrupted := make(chan struct{})
				go func() {
					defer close(interrupted)
					say(order(reader1))
				}()
				synctest.Wait()
				say(c.next)
				<-interrupted
				time.Sleep(5 * time.Second) // virtual
				synctest.Wait()
				if got := s.history(); got != c.want {
					t.Errorf("it did %s, want %s", got, c.want)
				}
			})
		})
	}
}

// TestRepointInterrupted: a slave whose repointing ended half-way does not stay stopped.
func TestRepointInterrupted(t *testing.T) {
	run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		o := order()
		o.Switch = cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
		s.set(func() { s.fail["repoint 10.0.0.2 bin.000001:500"] = context.Canceled })
		say(o)
		synctest.Wait()
		s.set(func() { s.fail, s.replica.SourceHost = nil, "10.0.0.2" })
		o.State = cluster.ReplicationFail // as its checks see it
		for range 2 {
			say(o)
			synctest.Wait()
		}
		if got, want := s.history(), "wait bin.000001:100, stop replication, start replication"; got != want {
			t.Errorf("it did %s, want %s", got, want)
		}
	})
}

// TestLookAgain: a former writer whose audit has found something is audited again when its log has begun anew, and not
// before.
func TestLookAgain(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		o := order()
		o.Left = "bin.000001:100"
		s.set(func() { s.log = []mysqlctl.Transaction{logged("bin.000001", 100, 2, "0-2-7")} })
		for _, step := range []struct {
			end    uint64
			looks  int
			beyond int
		}{{500, 1, 1}, {500, 1, 1}, {600, 1, 1}, {90, 2, 0}, {95, 2, 0}} {
			s.set(func() {
				s.position = at(step.end)
				if step.end < 100 {
					s.log = nil
				}
			})
			say(o)
			synctest.Wait()
			found := wire.ParseReport(say(o)).Audit
			if n := strings.Count(s.history(), "transactions"); n != step.looks || !found.Done ||
				found.Beyond != step.beyond || (found.Finding == "") != (step.beyond == 0) {
				t.Errorf("log up to %d: looked %d times, found %+v", step.end, n, found)
			}
		}
	})
}

// TestLookAfterAnotherReign: a former writer whose audit has found nothing, and that was the writer again since, is
// audited again, even where its successor names the very same place in its log.
func TestLookAfterAnotherReign(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		asked, reign := order(), order(writer)
		asked.Left = "bin.000001:100"
		for _, step := range []struct {
			order  cluster.Order
			found  cluster.Audit
			writes []mysqlctl.Transaction
		}{
			{order: asked, found: cluster.Audit{At: asked.Left, Done: true}},
			{order: asked, found: cluster.Audit{At: asked.Left, Done: true}},
			{order: reign, writes: []mysqlctl.Transaction{logged("bin.000001", 100, 2, "0-2-7")}},
			{order: asked, found: cluster.Audit{At: asked.Left, Done: true, Beyond: 1,
				Finding: "it has 1 transaction that nobody else has: 0-2-7"}},
		} {
			say(step.order)
			synctest.Wait()
			if got := wire.ParseReport(say(step.order)).Audit; got != step.found {
				t.Errorf("asked for %q it found %+v, want %+v", step.order.Left, got, step.found)
			}
			s.set(func() {
				s.log, s.position = append(s.log, step.writes...), at(100+100*uint64(len(s.log)+len(step.writes)))
			})
		}
	})
}

// TestAdminOffline: replication stops with the state ADMIN_OFFLINE and starts when that state ends.
func TestAdminOffline(t *testing.T) {
	run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		for _, st := range []cluster.HostState{cluster.AdminOffline, cluster.AdminOffline, cluster.Online} {
			o := order()
			o.State, o.Master = st, ""
			say(o)
			synctest.Wait()
		}
		if got, want := s.history(), "stop replication, start replication"; got != want {
			t.Errorf("it did %s, want %s", got, want)
		}
	})
}

// TestSoftBlocking: new clients are kept away while a writer's server is being closed for writes, but not where the
// agent can't reach that server; and they are always let in again.
func TestSoftBlocking(t *testing.T) {
	for _, c := range []struct {
		wasWriter bool
		fail      error
		want      string
	}{
		{wasWriter: true, want: "block\nunblock\n"},
		{wasWriter: false, want: ""},
		{wasWriter: true, fail: errGone, want: ""},
	} {
		said := filepath.Join(t.TempDir(), "said")
		s := &sim{fail: map[string]error{"deny": c.fail}, present: []netip.Addr{writer.IP}}
		h := &host{site: site(), publisher: vips(s), announce: s, gate: s,
			log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
			blocking: Blocking{Soft: true, Block: "echo block >>" + said, Unblock: "echo unblock >>" + said}}
		h.apply(t.Context(), pass{grace: allOfIt}, []Action{{Kind: Deny}, {Kind: Remove, Address: writer}}, c.wasWriter,
			Memory{})
		h.commands.Wait()
		if got, err := os.ReadFile(said); string(got) != c.want || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: it ran %q (%v)", c, got, err)
		}
		if len(s.present) != 0 {
			t.Errorf("%+v: the address stays", c)
		}
	}
}

// TestEnding: an agent that ends, or is followed by one with another configuration, answers an order with "busy".
// Without the extras of such an answer the monitor would take it for an original agent, which knows no leases.
func TestEnding(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
		s.set(func() { s.present = append(s.present, reader1.IP) })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for extended, want := range map[bool]bool{true: true, false: false} {
			o := order(reader1)
			o.Extended = extended
			answer, err := wire.ParseAnswer(a.Handle(ctx, wire.OrderRequest("db2", o).String()))
			r := wire.ParseReport(answer)
			if err != nil || answer.OK() || r.Extended != want || r.Busy != want || want && len(r.Have) != 1 {
				t.Errorf("extended %v: answer %v, %v", extended, answer, err)
			}
		}
	})
}

func logged(file string, offset uint64, server uint32, gtid string) mysqlctl.Transaction {
	return mysqlctl.Transaction{At: mysqlctl.Position{File: file, Offset: offset}, ServerID: server, GTID: gtid}
}
