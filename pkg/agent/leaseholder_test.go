package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/vip"
	"mysql-mmm/pkg/wire"
)

// fakeDisk holds files in memory. Writing waits until hung is closed, and fails with full; nil: neither.
type fakeDisk struct {
	mu    sync.Mutex
	files map[string]string
	hung  chan struct{}
	full  error
}

func (d *fakeDisk) ReadFile(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text, ok := d.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

func (d *fakeDisk) Replace(path string, content []byte) error {
	d.mu.Lock()
	hung, full := d.hung, d.full
	d.mu.Unlock()
	if hung != nil {
		<-hung
	}
	if full != nil {
		return full
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[path] = string(content)
	return nil
}

func (d *fakeDisk) set(hung chan struct{}, full error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hung, d.full = hung, full
}

// bubbleClock is the clock of a machine that was started an hour before the test.
type bubbleClock struct{ began time.Time }

func (bubbleClock) Boot() string          { return "boot" }
func (c bubbleClock) Now() time.Duration  { return time.Hour + time.Since(c.began) }
func (bubbleClock) Jumped() time.Duration { return 0 }

// leasedHost is db2 with an address that the kernel takes off when its lifetime is over.
type leasedHost struct {
	*sim
	ends    time.Time // of the address; zero: never
	renewed int
	late    time.Duration // how long the next call that sets a lifetime takes, whatever its deadline
	listed  int           // how often the addresses were listed
}

func (h *leasedHost) Add(ctx context.Context, ip netip.Addr, d time.Duration) error {
	h.standStill()
	h.set(func() { h.ends = endOf(d) })
	return h.sim.Add(context.WithoutCancel(ctx), ip, d)
}

func (h *leasedHost) Renew(_ context.Context, ip netip.Addr, d time.Duration) error {
	h.expire()
	there := false
	h.set(func() { there = len(h.present) > 0 })
	if !there {
		return vip.ErrNotPresent
	}
	was := h.standStill()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.present = was // an address that has ended meanwhile comes back
	h.ends = endOf(d)
	h.renewed++
	return nil
}

// standStill takes as long as late says, and returns the addresses from before that.
func (h *leasedHost) standStill() (was []netip.Addr) {
	var late time.Duration
	h.set(func() { was, late, h.late = h.present, h.late, 0 })
	time.Sleep(late)
	return was
}

func (h *leasedHost) List(ctx context.Context) ([]netip.Addr, error) {
	h.expire()
	h.set(func() { h.listed++ })
	return h.sim.List(ctx)
}

func (h *leasedHost) Lasting(context.Context) (ips []netip.Addr, err error) {
	h.set(func() {
		if h.ends.IsZero() {
			ips = h.present
		}
	})
	return ips, nil
}

func (h *leasedHost) expire() {
	h.set(func() {
		if !h.ends.IsZero() && !time.Now().Before(h.ends) {
			h.present = nil
		}
	})
}

func endOf(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// leasedTest is db2's agent with a lease of three seconds and db1 as the other candidate.
type leasedTest struct {
	*testing.T
	host     *leasedHost
	disk     *fakeDisk
	file     cluster.Lease // writer_lease of the host's own configuration
	agent    *Agent
	promises atomic.Bool // db1 promises what it is asked
	silent   atomic.Bool // db1 answers only after longer than anybody waits
	asked    int         // questions to db1
	end      func()
	after    *Agent // the one that start reloads; nil: it starts anew
}

const statePath = "/state"

// underLease runs f with an agent that has saved a state.
func underLease(t *testing.T, saved lease.Saved, f func(l *leasedTest)) {
	underFile(t, threeSeconds.Lease, saved, f)
}

// underFile is underLease where the host's own file may say something else than the epoch.
func underFile(t *testing.T, file cluster.Lease, saved lease.Saved, f func(l *leasedTest)) {
	synctest.Test(t, func(t *testing.T) {
		l := &leasedTest{T: t, disk: &fakeDisk{files: map[string]string{}}, file: file}
		l.promises.Store(true)
		if saved != (lease.Saved{}) {
			l.disk.files[statePath] = formatState(saved)
		}
		l.host = &leasedHost{sim: &sim{fail: map[string]error{}, block: map[string]chan struct{}{}, position: at(500),
			open:    true,
			present: []netip.Addr{writer.IP},
			replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "Yes", SQLRunning: "Yes", Received: at(100),
				Executed: at(100)}}}
		l.host.ends = time.Now().Add(3 * time.Second)
		l.start()
		defer func() { l.end() }()
		f(l)
	})
}

func (l *leasedTest) start() {
	st := site()
	st.Host, st.MayWrite = "db2", true
	r := st.Replication()
	r.Local, r.Peers, r.Disk, r.StatePath = l.host, l.host, l.disk, statePath
	r.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	l.agent = New(Config{Site: st, Endpoints: vips(l.host), Lifetimes: l.host, Watch: l.host, Announce: l.host,
		Gate: l.host, Local: l.host, Peers: l.host, Disk: l.disk,
		Leasing: &Leasing{StatePath: statePath, Lease: l.file, Candidates: []string{"db1", "db2"},
			Everybody: []string{"db1"},
			Clock:     bubbleClock{time.Now()}, Ask: l.ask},
		Replication: replication.New(r),
		Uptime:      func() (float64, error) { return 77.5, nil }, Version: "1.0", After: l.after,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.agent.Run(ctx) }()
	l.end = func() {
		cancel()
		if err := <-ended; err != nil {
			l.Error(err)
		}
	}
	synctest.Wait()
}

func (l *leasedTest) ask(_ context.Context, _, line string) (string, error) {
	if strings.HasPrefix(line, wire.PeerStatus) {
		l.host.set(func() { l.asked++ })
		if l.silent.Load() {
			time.Sleep(time.Minute)
		}
		if !l.promises.Load() {
			return "", errors.New("no route to host")
		}
	}
	return wire.Answer{Text: wire.PromisedText}.String(), nil
}

func (l *leasedTest) say(o cluster.Order) wire.Report {
	answer, err := wire.ParseAnswer(l.agent.Handle(context.Background(), wire.OrderRequest("db2", o).String()))
	if err != nil {
		l.Error(err)
	}
	return wire.ParseReport(answer)
}

func (l *leasedTest) open() (open, present bool) {
	l.host.expire()
	l.host.set(func() { open, present = l.host.sim.open, len(l.host.present) > 0 })
	return open, present
}

var threeSeconds = cluster.Terms{Candidates: "db1,db2", Lease: cluster.Lease(3 * time.Second),
	Longest: cluster.Lease(3 * time.Second)}

func ours(number uint64) cluster.Epoch {
	return cluster.Epoch{Number: number, Holder: "db2", Since: 5, Terms: threeSeconds}
}

func stampOf(l *leasedTest) cluster.Stamp {
	return cluster.Stamp{Boot: "boot", At: l.agent.leasing.Clock.Now()}
}

// TestRestartWithoutMonitor: an agent that is restarted while no monitor runs asks the other candidates to vouch for
// it, where its host had the writer role in this boot.
func TestRestartWithoutMonitor(t *testing.T) {
	saved := lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}
	underLease(t, saved, func(l *leasedTest) {
		time.Sleep(20 * time.Second)
		if open, present := l.open(); !open || !present {
			t.Errorf("after 20 s: open %v, address %v", open, present)
		}
		l.promises.Store(false)
		time.Sleep(6 * time.Second)
		if open, present := l.open(); open || present {
			t.Errorf("nobody vouches any more: open %v, address %v", open, present)
		}
		l.promises.Store(true)
		time.Sleep(2 * time.Second)
		if open, present := l.open(); !open || !present {
			t.Errorf("it is vouched for again: open %v, address %v", open, present)
		}
	})
	saved.Taken = "the boot before"
	underLease(t, saved, func(l *leasedTest) {
		time.Sleep(6 * time.Second)
		if open, present := l.open(); open || present || l.asked > 0 {
			t.Errorf("after a boot: open %v, address %v, asked %d times", open, present, l.asked)
		}
	})
}

// TestRestartAfterTheLease: an agent that finds at its start that the writer's address has gone, and the server open,
// closes the server at once, and gives a statement that writes no time: another host may be the writer. Its own record
// of the lease may be lost.
func TestRestartAfterTheLease(t *testing.T) {
	for name, saved := range map[string]lease.Saved{
		"it was the writer":  {Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease},
		"its record is gone": {},
	} {
		t.Run(name, func(t *testing.T) {
			underLease(t, saved, func(l *leasedTest) {
				l.promises.Store(false)
				l.end()
				l.host.set(func() {
					l.host.sim.open, l.host.present, l.host.done = true, nil, nil
					l.host.writes = time.Now().Add(time.Hour)
				})
				began := time.Now()
				l.start()
				if open, _ := l.open(); open || time.Since(began) > 0 {
					t.Errorf("after %v: open %v; it did %s", time.Since(began), open, l.host.history())
				}
			})
		})
	}
}

// TestDismissedByAnEpoch: an agent that nobody has ordered anything since its start, and that hears from another agent
// of an epoch with another holder, gives the writer's address up and closes its server at once.
func TestDismissedByAnEpoch(t *testing.T) {
	underLease(t, lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}, func(l *leasedTest) {
		l.promises.Store(false)
		l.end()
		l.host.ends = time.Now().Add(time.Hour) // the kernel would keep the address
		l.start()
		if open, present := l.open(); !open || !present {
			t.Fatalf("it may be the writer at work: open %v, address %v", open, present)
		}
		theirs := cluster.Epoch{Number: 6, Holder: "db1", Since: 6, Terms: threeSeconds}
		q := wire.Question{From: "db1", Epoch: theirs, Live: true, Lease: threeSeconds.Lease}
		l.agent.Handle(context.Background(), q.Request("db2").String())
		synctest.Wait()
		if open, present := l.open(); open || present {
			t.Errorf("db1 is the writer: open %v, address %v; it did %s", open, present, l.host.history())
		}
	})
}

// TestDiskHangs: an agent whose state can't be written, as the disk hangs or is full, does not say that it knows the
// new epoch. All else goes on, and it gives the role up.
func TestDiskHangs(t *testing.T) {
	for name, full := range map[string]error{"hangs": nil, "full": errors.New("no space left on device")} {
		t.Run(name, func(t *testing.T) {
			underLease(t, lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}, func(l *leasedTest) {
				o := order(writer)
				o.Lease, o.Epoch, o.Echo = threeSeconds.Lease, ours(5), stampOf(l)
				if r := l.say(o); r.Stamp == (cluster.Stamp{}) || !r.Live || r.Epoch != ours(5) {
					t.Fatalf("healthy: %+v", r)
				}
				hung := make(chan struct{})
				l.disk.set(map[bool]chan struct{}{true: hung}[full == nil], full)
				o.Epoch = cluster.Epoch{Number: 6, Holder: "db2", Since: 5, Leaving: true, Terms: threeSeconds}
				o.Roles, o.Master, o.Seq = nil, "", 9
				r := l.say(o)
				if r.Stamp == (cluster.Stamp{}) || r.Epoch != ours(5) || !r.Extended || !r.Busy {
					t.Errorf("while it hangs: %+v", r)
				}
				if open, present := l.open(); open || present {
					t.Errorf("the role is not given up: open %v, address %v", open, present)
				}
				l.disk.set(nil, nil)
				close(hung)
				time.Sleep(2 * time.Second)
				if r := l.say(o); r.Epoch.Number != 6 || r.Live {
					t.Errorf("when the disk is back: %+v", r)
				}
			})
		})
	}
}

// TestWholeLease: the kernel is told lifetimes in whole seconds, rounded down, and is told anew while the agent is at
// work: the address stays for as long as the lease lasts, and no longer.
func TestWholeLease(t *testing.T) {
	underLease(t, lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}, func(l *leasedTest) {
		l.silent.Store(true)
		o := order(writer)
		o.Lease, o.Epoch, o.Echo = threeSeconds.Lease, ours(5), stampOf(l)
		l.say(o)
		l.host.set(func() {
			if left := time.Until(l.host.ends); left > 3*time.Second || left < 2*time.Second {
				t.Errorf("the kernel was told %v", left)
			}
		})
		time.Sleep(2700 * time.Millisecond)
		if _, present := l.open(); !present {
			t.Error("the address goes before the lease is over")
		}
		time.Sleep(500 * time.Millisecond)
		if open, present := l.open(); open || present {
			t.Errorf("after the lease: open %v, address %v", open, present)
		}
		l.silent.Store(false)
		time.Sleep(2 * time.Minute) // the last question has ended
	})
}

// TestNoRoleWithoutDisk: a host that can't write down that it takes the writer role does not take it.
func TestNoRoleWithoutDisk(t *testing.T) {
	underLease(t, lease.Saved{}, func(l *leasedTest) {
		l.host.set(func() { l.host.present, l.host.sim.open = nil, false })
		time.Sleep(10 * time.Second) // its start counts as a promise
		hung := make(chan struct{})
		l.disk.set(hung, nil)
		o := order(writer)
		o.Lease, o.Epoch, o.Echo = threeSeconds.Lease, ours(5), stampOf(l)
		l.say(o)
		if open, present := l.open(); open || present {
			t.Errorf("open %v, address %v", open, present)
		}
		l.disk.set(nil, nil)
		close(hung)
		o.Echo = stampOf(l)
		l.say(o)
		time.Sleep(time.Second)
		if open, present := l.open(); !open || !present {
			t.Errorf("when the disk is back: open %v, address %v", open, present)
		}
	})
}

// TestUnreadableState: a state that can't be understood is kept, and the agent goes on as after a first start.
func TestUnreadableState(t *testing.T) {
	released := lease.Saved{Epoch: ours(5), Lease: threeSeconds.Lease, Released: true}
	if saved, err := parseState(formatState(released), "boot"); err != nil || saved != released {
		t.Errorf("%+v (%v), want %+v", saved, err, released)
	}
	whole := formatState(lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease})
	for name, text := range map[string]string{"empty": "", "truncated": whole[:len(whole)-9], "foreign": "hello\n",
		"binary":    "\x00\x01\n",
		"two lines": whole + whole, "a bad epoch": "epoch=x|terms=|taken=|lease=0\n",
		"a bad lease": "epoch=5,db2,5,0,|terms=|taken=|lease=-1\n"} {
		t.Run(name, func(t *testing.T) {
			d := &fakeDisk{files: map[string]string{statePath: text}}
			saved, err := loadState(d, statePath, "boot")
			if err == nil || saved != (lease.Saved{}) || !strings.Contains(err.Error(), statePath) {
				t.Errorf("%+v, %v", saved, err)
			}
			if d.files[statePath+".unreadable"] != text {
				t.Errorf("kept is %q", d.files[statePath+".unreadable"])
			}
		})
	}
	for name, text := range map[string]string{"ours": whole, "a later version": strings.TrimSuffix(whole, "\n") +
		"|fence=1\n"} {
		if saved, err := parseState(text, "boot"); err != nil || saved.Epoch != ours(5) || saved.Taken != "boot" ||
			saved.Lease != threeSeconds.Lease {
			t.Errorf("%s: %+v, %v", name, saved, err)
		}
	}
	old, err := parseState("5,db2,5,0,|1|3000\n", "boot")
	if err != nil || old.Epoch != (cluster.Epoch{Number: 5, Holder: "db2", Since: 5}) || old.Taken != "boot" ||
		old.Lease != threeSeconds.Lease {
		t.Errorf("an older version: %+v, %v", old, err)
	}
}

// aheadServer is the server of a peer whose log goes on beyond what this host has.
type aheadServer struct{ deadRemote }

func (aheadServer) Position(context.Context) (mysqlctl.Position, error) { return at(9999), nil }

// TestBackInTheSameHolding: a writer whose lease was over for a while, and that nobody has replaced, is opened without
// catching up: what its peer's log has beyond comes from this very host.
func TestBackInTheSameHolding(t *testing.T) {
	underLease(t, lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}, func(l *leasedTest) {
		o := order(writer)
		o.Lease, o.Epoch, o.Echo = threeSeconds.Lease, ours(5), stampOf(l)
		l.say(o)
		l.host.set(func() {
			l.host.peer = aheadServer{}
			l.host.block["wait bin.000001:9999"] = make(chan struct{}) // its replication stands still
		})
		l.promises.Store(false)
		time.Sleep(6 * time.Second)
		if open, present := l.open(); open || present {
			t.Fatalf("without a lease: open %v, address %v", open, present)
		}
		l.promises.Store(true)
		time.Sleep(3 * time.Second)
		if open, present := l.open(); !open || !present {
			t.Errorf("vouched for again: open %v, address %v", open, present)
		}
	})
}

// TestMonitorWithoutLeases: where a monitor that knows no leases takes over, the writer's address stays without a
// lifetime from its first order on, and is never away.
func TestMonitorWithoutLeases(t *testing.T) {
	underLease(t, lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}, func(l *leasedTest) {
		o := order(writer)
		o.Lease, o.Epoch, o.Echo = threeSeconds.Lease, ours(5), stampOf(l)
		l.say(o)
		l.say(cluster.Order{State: cluster.Online, Roles: o.Roles, Master: "db2"})
		l.host.set(func() { l.host.done = nil })
		time.Sleep(20 * time.Second)
		if open, present := l.open(); !open || !present {
			t.Errorf("open %v, address %v", open, present)
		}
		if did := l.host.history(); did != "" {
			t.Errorf("it did %s", did)
		}
		l.end() // another agent finds the address, and leaves it
		l.start()
		time.Sleep(10 * time.Second)
		if open, present := l.open(); !open || !present {
			t.Errorf("after a restart: open %v, address %v", open, present)
		}
		l.say(cluster.Order{State: cluster.Online, Roles: o.Roles, Master: "db2"})
		if did := l.host.history(); did != "" {
			t.Errorf("after a restart it did %s", did)
		}
	})
}

// TestRepeatedOrder: an order that says nothing new renews the lease, and is answered with what the last look found.
// Where something is wrong, or may be, the agent looks anew.
func TestRepeatedOrder(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(l *leasedTest, o *cluster.Order)
		looks bool
	}{
		"all well":      {func(*leasedTest, *cluster.Order) {}, false},
		"another order": {func(_ *leasedTest, o *cluster.Order) { o.Seq++ }, true},
		"found too long ago": {func(l *leasedTest, _ *cluster.Order) {
			l.host.set(func() { l.host.block["list"] = make(chan struct{}) })
			time.Sleep(1100 * time.Millisecond)
			time.AfterFunc(10*time.Millisecond, func() {
				l.host.set(func() { close(l.host.block["list"]); delete(l.host.block, "list") })
			})
		}, true},
		"the server's process is gone": {func(l *leasedTest, _ *cluster.Order) { l.agent.host.process = dead{} }, true},
		"closed by somebody": {func(l *leasedTest, _ *cluster.Order) {
			l.host.set(func() { l.host.sim.open = false })
			time.Sleep(1100 * time.Millisecond)
		}, false}, // a round has found and mended that
	} {
		t.Run(name, func(t *testing.T) {
			underLease(t, lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}, func(l *leasedTest) {
				o := order(writer)
				o.Lease, o.Epoch, o.Echo = threeSeconds.Lease, ours(5), stampOf(l)
				l.say(o)
				l.say(o)
				time.Sleep(10 * time.Millisecond)
				c.spoil(l, &o)
				o.Echo = stampOf(l)
				var before, after, renewed int
				l.host.set(func() { before, renewed = l.host.listed, l.host.renewed })
				r := l.say(o)
				synctest.Wait() // for what goes on after the answer
				l.host.set(func() { after, renewed = l.host.listed, l.host.renewed-renewed })
				if looks := after > before; looks != c.looks {
					t.Errorf("it looks: %v", looks)
				}
				if renewed == 0 || r.Writable != wire.Yes || len(r.Have) != 1 || r.Seq != o.Seq {
					t.Errorf("renewed %d times, report %+v", renewed, r)
				}
			})
		})
	}
}

// dead is the process of a server that has ended.
type dead struct{}

func (dead) Answered(context.Context) {}
func (dead) Gone() bool               { return true }
func (dead) Same() bool               { return false }

// TestAddedBesideTheLease: a host whose agent has been restarted keeps the writer's address for what is left of its
// lifetime. The same address without a lifetime was put there by somebody else, and does not stay, unless the host is
// vouched for.
func TestAddedBesideTheLease(t *testing.T) {
	saved := lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}
	underLease(t, saved, func(l *leasedTest) {
		l.promises.Store(false)
		time.Sleep(2500 * time.Millisecond)
		if open, present := l.open(); !open || !present {
			t.Errorf("its lease is not over: open %v, address %v", open, present)
		}
	})
	underLease(t, saved, func(l *leasedTest) {
		l.promises.Store(false)
		l.host.set(func() { l.host.ends = time.Time{} })
		time.Sleep(1500 * time.Millisecond)
		if open, present := l.open(); open || present {
			t.Errorf("somebody has added it: open %v, address %v", open, present)
		}
	})
	underLease(t, saved, func(l *leasedTest) {
		l.host.set(func() { l.host.ends = time.Time{} })
		time.Sleep(5 * time.Second)
		if open, present := l.open(); !open || !present {
			t.Errorf("it is vouched for, and has taken the address for its own: open %v, address %v", open, present)
		}
	})
}

// TestAddedTooLate: an address that is added or prolonged when its lease is over goes at once, and not only with the
// next look. A machine that stood still may be in the middle of either when it goes on.
func TestAddedTooLate(t *testing.T) {
	for name, present := range map[string]bool{"added": false, "prolonged": true} {
		t.Run(name, func(t *testing.T) {
			underLease(t, lease.Saved{Epoch: ours(5), Taken: "boot", Lease: threeSeconds.Lease}, func(l *leasedTest) {
				l.promises.Store(false)
				if !present {
					l.host.set(func() { l.host.present = nil })
					time.Sleep(1100 * time.Millisecond)
				}
				l.host.set(func() { l.host.late = 12 * time.Second })
				o := order(writer)
				o.Lease, o.Epoch, o.Echo = threeSeconds.Lease, ours(5), stampOf(l)
				go l.say(o)
				time.Sleep(11 * time.Second)
				l.host.set(func() { l.host.block["list"] = make(chan struct{}) }) // no other look can end
				time.Sleep(1100 * time.Millisecond)
				l.host.set(func() {
					if len(l.host.present) > 0 {
						t.Errorf("its lease is over, and it has %v", l.host.present)
					}
					if !strings.Contains(strings.Join(l.host.done, ", "), "remove 10.0.0.100") {
						t.Errorf("it did %v", l.host.done)
					}
					close(l.host.block["list"])
					delete(l.host.block, "list")
				})
			})
		})
	}
}
