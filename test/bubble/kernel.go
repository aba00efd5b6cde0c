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

// kernel has the addresses of a machine, with their lifetimes, and its firewall. Its methods are called with the world
// locked.
type kernel struct {
	h        *host
	dice     *dice
	entries  map[netip.Addr][]*entry
	watchers map[chan<- struct{}]bool
	late     time.Duration              // an address goes off at most so long after its lifetime
	slow     time.Duration              // longest time that a call takes
	stalled  time.Time                  // until when no call returns
	closed   bool                       // the server's port is closed to clients
	unfenced time.Time                  // when somebody last emptied the firewall
	renewing func()                     // run once, between look and call of a renewal of the writer's address; nil: not
	revived  map[netip.Addr]time.Time   // by address: until when it does not count as ours, see revive
	departed map[netip.Addr]*time.Timer // by address whose clients are refused: the timer that ends that
}

// entry is an address with a prefix length on the interface.
type entry struct {
	bits    int
	foreign bool          // somebody else has added it, and our agent has had no time to remove it
	ends    time.Time     // when its lifetime ends
	timer   *time.Timer   // that ends it; nil: it has no lifetime
	left    time.Duration // what is left of the lifetime while the machine is suspended
}

func newKernel(h *host) *kernel {
	return &kernel{h: h, dice: newDice(h.w.Seed, "kernel of "+h.name), entries: map[netip.Addr][]*entry{},
		watchers: map[chan<- struct{}]bool{},
		revived:  map[netip.Addr]time.Time{}, departed: map[netip.Addr]*time.Timer{},
		late: 200 * time.Millisecond, slow: 20 * time.Millisecond}
}

func (k *kernel) has(ip netip.Addr) bool { return len(k.entries[ip]) > 0 }

// ours says whether our agent has added the address, or has left it there although it had the time to remove it.
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

// set gives ip, with prefix length 32, a lifetime from now on; 0 is none. It adds the address where it is missing.
func (k *kernel) set(ip netip.Addr, lifetime time.Duration) {
	was := k.has(ip)
	i := slices.IndexFunc(k.entries[ip], func(e *entry) bool { return e.bits == 32 })
	if i < 0 {
		k.entries[ip] = append(k.entries[ip], &entry{bits: 32})
		i = len(k.entries[ip]) - 1
	}
	e := k.entries[ip][i]
	e.foreign = false
	// A renewal removes the same address with other prefix lengths (rule R8 in docs/design.md).
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

// expire ends an entry after d.
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

// flush removes an address, or all of them for the zero Addr.
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

// admits says whether the firewall lets clients of an address through.
func (k *kernel) admits(ip netip.Addr) bool { return !k.closed && k.departed[ip] == nil }

// welcome ends it that clients of an address are refused.
func (k *kernel) welcome(ip netip.Addr) {
	if timer := k.departed[ip]; timer != nil {
		timer.Stop()
		delete(k.departed, ip)
	}
}

// flushRules empties the firewall.
func (k *kernel) flushRules() {
	k.closed, k.unfenced = false, time.Now()
	for ip := range k.departed {
		k.welcome(ip)
	}
	k.h.w.check()
}

// suspend stops the lifetimes of addresses.
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

// resume lets the lifetimes go on.
func (k *kernel) resume() {
	for ip, list := range k.entries {
		for _, e := range list {
			if e.timer != nil {
				k.expire(ip, e, max(e.left, 0))
			}
		}
	}
}

// Times in which an agent that is at work must remove an address that somebody else has added.
const (
	// tidy is for an agent that was at work then: it does so in its next round, and the present one may be waiting for
	// a server that hangs.
	tidy = 2 * time.Second
	// tidyLate is for an agent that found the address when it started: it gives the address up like a role, after its
	// first order.
	tidyLate = 3 * time.Second
)

// relook is how long an agent may leave an address that it has added too late, because it was stopped between its last
// look and the call that adds the address. By then it must have looked again.
const relook = 100 * time.Millisecond

// revive excuses an address for relook.
func (k *kernel) revive(ip netip.Addr) {
	k.revived[ip] = time.Now().Add(relook)
	k.h.w.revivals++
	k.h.w.later(relook+time.Millisecond, k.h.w.check)
}

// foreign adds an address as somebody else would.
func (k *kernel) foreign(ip netip.Addr, bits int) {
	if slices.ContainsFunc(k.entries[ip], func(e *entry) bool { return e.bits == bits }) {
		return
	}
	e := &entry{bits: bits, foreign: true}
	k.entries[ip] = append(k.entries[ip], e)
	by := k.h.agent
	if by != nil && !by.looked {
		by = nil // it finds the address at its start, and can't tell it from one that an earlier agent has added
	}
	k.tolerate(ip, e, by)
	k.changed()
	k.h.w.check()
}

// tolerate counts an address that somebody else has added as ours once an agent has been at work for long enough and
// has not removed it. by is the agent that was at work when the address was added; nil: none was.
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

// goOn ends a stall, and makes calls fast again.
func (k *kernel) goOn() {
	if now := time.Now(); k.stalled.After(now) {
		k.stalled = now
	}
	k.slow = 20 * time.Millisecond
}

// callTimeout is how long an agent waits for a call that does not return.
const callTimeout = time.Second

// call waits for as long as a call takes. It returns only when the kernel is not stalled any more, or with ctx.
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

// Lasting lists the addresses that have no lifetime.
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

// Add adds ip with prefix length 32. With a lifetime it replaces the same address with other prefix lengths.
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

// Renew gives ip a new lifetime. It lists the addresses first and sets the lifetime then: an address that has gone in
// between stays away. Where the address is there only with other prefix lengths, it is added with 32.
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
	if !n.k.ours(ip) && !w.Without.Adds && n.p.stopped() != stops { // it has gone, or is somebody else's now
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

// Probe looks for another machine on the network that has the address, and returns its hardware address, or nil.
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

// firewall is the rule that closes the server's port to clients, as one life of an agent sees it.
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

// farewell is the rule that refuses clients of an address that has moved away, as one life of an agent sees it.
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

// change changes the rules, in a call to the kernel.
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
