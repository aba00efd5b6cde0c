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
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

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
		h.apply(t.Context(), pass{left: endless}, []Action{{Kind: Deny}, {Kind: Remove, Address: writer}}, c.wasWriter,
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
