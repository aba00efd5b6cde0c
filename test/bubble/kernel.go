package bubble

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/vip"
)

// kernel has the addresses of a machine, with their lifetimes, and its firewall. The world is locked.
type kernel struct {
	h        *host
	dice     *dice
	entries  map[netip.Addr][]*entry
	watchers map[chan<- struct{}]bool
	late     time.Duration              // most that an address leaves too late
	slow     time.Duration              // most that a call takes
	stalled  time.Time                  // until when no call returns
	closed   bool                       // clients are kept from the server's port
	renewing func()                     // called once, between look and call of a renewal of the writer's address; nil: not
	revived  map[netip.Addr]time.Time   // addresses that do not count as ours until then
	departed map[netip.Addr]*time.Timer // addresses of which clients are refused, until the timer ends that
}

// entry is an address with a prefix.
type entry struct {
	bits    int
	foreign bool // put there by somebody else, and our agent has had no time to take it away
	ends    time.Time
	timer   *time.Timer   // nil: for ever
	left    time.Duration // while the machine is suspended
}

func newKernel(h *host) *kernel {
	return &kernel{h: h, dice: newDice(h.w.Seed, "kernel of "+h.name), entries: map[netip.Addr][]*entry{},
		watchers: map[chan<- struct{}]bool{},
		revived:  map[netip.Addr]time.Time{}, departed: map[netip.Addr]*time.Timer{},
		late: 200 * time.Millisecond, slow: 20 * time.Millisecond}
}

func (k *kernel) has(ip netip.Addr) bool { return len(k.entries[ip]) > 0 }

// ours says whether our agent has put the address there, or has left it there though it could take it away.
func (k *kernel) ours(ip netip.Addr) bool {
	mine := func(e *entry) bool { return !e.foreign }
	return !time.Now().Before(k.revived[ip]) && slices.ContainsFunc(k.entries[ip], mine)
}

// changed tells the watchers.
func (k *kernel) changed() {
	for c := range k.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// set gives the /32 of ip a lifetime from now; 0 is for ever.
func (k *kernel) set(ip netip.Addr, lifetime time.Duration) {
	was := k.has(ip)
	i := slices.IndexFunc(k.entries[ip], func(e *entry) bool { return e.bits == 32 })
	if i < 0 {
		k.entries[ip] = append(k.entries[ip], &entry{bits: 32})
		i = len(k.entries[ip]) - 1
	}
	e := k.entries[ip][i]
	e.foreign = false
	// A renewal takes away what is there beside it.
	for _, other := range k.entries[ip] {
		if other != e && other.timer != nil {
			other.timer.Stop()
		}
	}
	k.entries[ip] = []*entry{e}
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	if lifetime > 0 && !k.h.w.Without.Lifetime {
		whole := (lifetime + time.Second - 1).Truncate(time.Second)
		k.expire(ip, e, time.Duration(float64(whole)/k.h.clock.rate)+k.dice.between(0, k.late))
	}
	if !was {
		k.changed()
	}
	k.h.w.check()
}

func (k *kernel) expire(ip netip.Addr, e *entry, d time.Duration) {
	e.ends = time.Now().Add(d)
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		k.h.w.mu.Lock()
		defer k.h.w.mu.Unlock()
		if e.timer != timer || !slices.Contains(k.entries[ip], e) {
			return
		}
		k.drop(ip, e)
		k.h.w.note(k.h.name, "kernel: the lifetime of %s is over", ip)
		k.changed()
		k.h.w.check()
	})
	e.timer = timer
}

func (k *kernel) drop(ip netip.Addr, e *entry) {
	if e.timer != nil {
		e.timer.Stop()
	}
	k.entries[ip] = slices.DeleteFunc(k.entries[ip], func(x *entry) bool { return x == e })
}

// flush takes an address off, or all for an invalid one.
func (k *kernel) flush(ip netip.Addr) {
	for at, list := range k.entries {
		if ip.IsValid() && at != ip {
			continue
		}
		for _, e := range slices.Clone(list) {
			k.drop(at, e)
		}
	}
	k.changed()
	k.h.w.check()
}

// admits says whether clients of an address come through the firewall.
func (k *kernel) admits(ip netip.Addr) bool { return !k.closed && k.departed[ip] == nil }

// welcome ends the refusal of an address's clients.
func (k *kernel) welcome(ip netip.Addr) {
	if timer := k.departed[ip]; timer != nil {
		timer.Stop()
		delete(k.departed, ip)
	}
}

// flushRules empties the firewall.
func (k *kernel) flushRules() {
	k.closed = false
	for ip := range k.departed {
		k.welcome(ip)
	}
	k.h.w.check()
}

// suspend stops the timers.
func (k *kernel) suspend() {
	for _, list := range k.entries {
		for _, e := range list {
			if e.timer != nil {
				e.timer.Stop()
				e.left = time.Until(e.ends)
			}
		}
	}
}

func (k *kernel) resume() {
	for ip, list := range k.entries {
		for _, e := range list {
			if e.timer != nil {
				k.expire(ip, e, max(e.left, 0))
			}
		}
	}
}

// Times in which an agent that is at work takes away what somebody else has put there: in its next round, which follows
// one that may be waiting for a server that hangs; or, where it was there when the agent started, as a role that it
// gives up, once it has an order.
const (
	tidy     = 2 * time.Second
	tidyLate = 3 * time.Second
)

// relook is how long an agent may leave an address that it has added too late, as it was stopped between looking and
// adding. By then it has looked again.
const relook = 100 * time.Millisecond

// revive does not count an address for so long.
func (k *kernel) revive(ip netip.Addr) {
	k.revived[ip] = time.Now().Add(relook)
	k.h.w.revivals++
	k.h.w.later(relook+time.Millisecond, k.h.w.check)
}

// foreign puts the address there as somebody else would.
func (k *kernel) foreign(ip netip.Addr, bits int) {
	if slices.ContainsFunc(k.entries[ip], func(e *entry) bool { return e.bits == bits }) {
		return
	}
	e := &entry{bits: bits, foreign: true}
	k.entries[ip] = append(k.entries[ip], e)
	by := k.h.agent
	if by != nil && !by.looked {
		by = nil // it finds the address at its start, as one of an agent before it may be
	}
	k.tolerate(ip, e, by)
	k.changed()
	k.h.w.check()
}

// tolerate counts an address of somebody else's as ours once an agent has been at work beside it for long enough. by is
// the one that was at work when it was put there; nil: none.
func (k *kernel) tolerate(ip netip.Addr, e *entry, by *agentProcess) {
	began, agent, wait := time.Now(), k.h.agent, tidy
	if agent == nil || agent != by {
		wait = tidyLate
	}
	ordered := agent != nil && (agent == by || agent.ordered)
	k.h.w.later(wait+4*k.slow, func() {
		switch {
		case !e.foreign || !slices.Contains(k.entries[ip], e):
		case !ordered || agent != k.h.agent || k.h.unattended().After(began):
			k.tolerate(ip, e, by)
		default:
			e.foreign = false
			k.h.w.note(k.h.name, "agent leaves the address that somebody else has added")
			k.h.w.check()
		}
	})
}

// netlink is the kernel as one life of an agent sees it.
type netlink struct {
	k *kernel
	p *process
}

// goOn ends what keeps calls waiting.
func (k *kernel) goOn() {
	if now := time.Now(); k.stalled.After(now) {
		k.stalled = now
	}
	k.slow = 20 * time.Millisecond
}

// callTimeout is how long an agent waits for a call: one that began while the kernel was stalled may keep it for so
// long.
const callTimeout = time.Second

// call waits as long as a call takes; a kernel that is stalled answers nobody.
func (n netlink) call(ctx context.Context) error {
	n.k.h.w.mu.Lock()
	slow := n.k.slow
	n.k.h.w.mu.Unlock()
	if err := n.p.call(ctx, n.k.dice.between(50*time.Microsecond, slow)); err != nil {
		return err
	}
	n.k.h.w.mu.Lock()
	left := time.Until(n.k.stalled)
	n.k.h.w.mu.Unlock()
	if left <= 0 {
		return nil
	}
	return n.p.call(ctx, left)
}

func (n netlink) List(ctx context.Context) ([]netip.Addr, error) {
	if err := n.call(ctx); err != nil {
		return nil, err
	}
	n.k.h.w.mu.Lock()
	defer n.k.h.w.mu.Unlock()
	if by := n.k.h.agent; by != nil && by.process == n.p {
		by.looked = true
	}
	var list []netip.Addr
	for ip := range n.k.entries {
		if n.k.has(ip) {
			list = append(list, ip)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list, nil
}

// Lasting are the addresses without a lifetime.
func (n netlink) Lasting(ctx context.Context) ([]netip.Addr, error) {
	if err := n.call(ctx); err != nil {
		return nil, err
	}
	n.k.h.w.mu.Lock()
	defer n.k.h.w.mu.Unlock()
	var list []netip.Addr
	for ip, entries := range n.k.entries {
		if slices.ContainsFunc(entries, func(e *entry) bool { return e.timer == nil && e.left == 0 }) {
			list = append(list, ip)
		}
	}
	return list, nil
}

// Add puts the /32 there, in the place of other prefixes where it has a lifetime.
func (n netlink) Add(ctx context.Context, ip netip.Addr, lifetime time.Duration) error {
	if lifetime < 0 {
		return fmt.Errorf("add %s: negative lifetime %v", ip, lifetime)
	}
	stops := n.p.stopped()
	if err := n.call(ctx); err != nil {
		return err
	}
	n.k.h.w.mu.Lock()
	defer n.k.h.w.mu.Unlock()
	if n.p.stopped() != stops && !n.k.has(ip) {
		n.k.revive(ip)
	}
	for _, e := range slices.Clone(n.k.entries[ip]) {
		if e.bits != 32 && lifetime > 0 {
			n.k.drop(ip, e)
		}
	}
	n.k.h.w.note(n.k.h.name, "kernel: adds %s for %v", ip, lifetime)
	n.k.set(ip, lifetime)
	return nil
}

// Renew lists first and sets then. What is gone by then stays so. Where only what others have put there is left, that
// becomes ours.
func (n netlink) Renew(ctx context.Context, ip netip.Addr, lifetime time.Duration) error {
	if lifetime < 0 {
		return fmt.Errorf("renew %s: negative lifetime %v", ip, lifetime)
	}
	if err := n.call(ctx); err != nil {
		return err
	}
	w := n.k.h.w
	single := func(e *entry) bool { return e.bits == 32 }
	w.mu.Lock()
	there, ours := n.k.has(ip), slices.ContainsFunc(n.k.entries[ip], single)
	w.mu.Unlock()
	if !there || lifetime == 0 && !ours {
		return vip.ErrNotPresent
	}
	w.mu.Lock()
	if f := n.k.renewing; f != nil && ip == writerIP {
		n.k.renewing = nil
		f()
	}
	w.mu.Unlock()
	stops := n.p.stopped()
	if err := n.p.call(ctx, n.k.dice.between(0, 100*time.Microsecond)); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ours && !slices.ContainsFunc(n.k.entries[ip], single) && !w.Without.Adds {
		return vip.ErrNotPresent
	}
	if !n.k.has(ip) && !w.Without.Adds && n.p.stopped() != stops {
		n.k.revive(ip)
	}
	n.k.set(ip, lifetime)
	return nil
}

func (n netlink) Remove(ctx context.Context, ip netip.Addr) error {
	if err := n.call(ctx); err != nil {
		return err
	}
	n.k.h.w.mu.Lock()
	defer n.k.h.w.mu.Unlock()
	if n.k.has(ip) {
		n.k.h.w.note(n.k.h.name, "kernel: removes %s", ip)
		n.k.flush(ip)
	}
	return nil
}

func (n netlink) Watch(ctx context.Context, changed chan<- struct{}) error {
	w := n.k.h.w
	w.mu.Lock()
	n.k.watchers[changed] = true
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	delete(n.k.watchers, changed)
	w.mu.Unlock()
	return nil
}

func (netlink) Announce(netip.Addr) {}
func (netlink) Hold(netip.Addr)     {}
func (netlink) Forget(netip.Addr)   {}

// Probe looks for another machine that has the address, on the same network.
func (n netlink) Probe(ctx context.Context, ip netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	if err := n.p.call(ctx, wait); err != nil {
		return nil, err
	}
	w := n.k.h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, o := range w.hosts {
		if o != n.k.h && o.kernel.has(ip) && o.answers() && w.network.both(n.k.h.name, o.name) {
			return net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}, nil
		}
	}
	return nil, nil
}

// firewall is the rule around the server's port as one life of an agent sees it.
type firewall netlink

func (f firewall) set(ctx context.Context, closed bool) error {
	if err := netlink(f).call(ctx); err != nil {
		return err
	}
	w := f.k.h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.k.closed != closed {
		w.note(f.k.h.name, "kernel: the server's port is closed to clients: %v", closed)
	}
	f.k.closed = closed
	w.check()
	return nil
}

func (f firewall) Close(ctx context.Context) error { return f.set(ctx, true) }
func (f firewall) Open(ctx context.Context) error  { return f.set(ctx, false) }

func (f firewall) Closed(ctx context.Context) (bool, error) {
	if err := netlink(f).call(ctx); err != nil {
		return false, err
	}
	f.k.h.w.mu.Lock()
	defer f.k.h.w.mu.Unlock()
	return f.k.closed, nil
}

// farewell refuses the clients of an address that has left, as one life of an agent sees it.
type farewell netlink

func (f farewell) Prepare(ctx context.Context) error { return netlink(f).call(ctx) }

func (f farewell) Refuse(ctx context.Context, ip netip.Addr, during time.Duration) error {
	return f.change(ctx, func() {
		f.k.welcome(ip)
		var timer *time.Timer
		timer = time.AfterFunc(during, func() {
			f.k.h.w.mu.Lock()
			defer f.k.h.w.mu.Unlock()
			if f.k.departed[ip] == timer {
				f.k.welcome(ip)
				f.k.h.w.check()
			}
		})
		f.k.departed[ip] = timer
	})
}

func (f farewell) Welcome(ctx context.Context, ip netip.Addr) error {
	return f.change(ctx, func() { f.k.welcome(ip) })
}

// change does something to the rules, as a call to the kernel.
func (f farewell) change(ctx context.Context, do func()) error {
	if err := netlink(f).call(ctx); err != nil {
		return err
	}
	f.k.h.w.mu.Lock()
	defer f.k.h.w.mu.Unlock()
	do()
	f.k.h.w.check()
	return nil
}
