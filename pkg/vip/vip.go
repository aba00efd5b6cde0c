// Package vip puts virtual addresses on this machine, takes them off again and tells the neighbours.
//
// It speaks rtnetlink for addresses and packet sockets for announcements; it runs no commands. It keeps no idea
// of which addresses ought to be here: that is for the caller to decide, from its orders and from List.
package vip

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var (
	// ErrNoInterface means that no interface of the name exists at the moment.
	ErrNoInterface = errors.New("no such interface")
	// ErrNotPresent means that there is no entry of the address that Renew could renew.
	ErrNotPresent = errors.New("address is not present")
)

// The kernel answers netlink at once; this only bounds the day it does not.
const kernelTimeout = 5 * time.Second

// Interface is one network interface, known by its name ("cluster_interface"). The interface may vanish and come
// back: every call looks the name up again. Calls may be made from several goroutines, but two of them about the
// same address have no defined order.
//
// Addresses are IPv4 or IPv6 without a zone; IPv4 in IPv6 form counts as IPv4.
// All errors name the interface; they are ErrNoInterface when it is missing.
type Interface struct {
	name string
}

// Open only remembers the name; the interface need not exist.
func Open(name string) *Interface { return &Interface{name: name} }

// List returns the addresses on the interface, sorted, each once whatever its prefix length, and whether the link
// is up or down. An IPv6 address that the kernel found in use elsewhere (dadfailed, RFC 4862 section 5.4) is not
// usable and is left out.
func (i *Interface) List(ctx context.Context) ([]netip.Addr, error) {
	var ips []netip.Addr
	err := i.do(ctx, func(c conn) (err error) {
		ips, err = c.addresses(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", i.name, err)
	}
	return ips, nil
}

// Lasting returns those of the addresses on the interface that stay until somebody takes them off: they have an entry
// without a lifetime.
func (i *Interface) Lasting(ctx context.Context) ([]netip.Addr, error) {
	var ips []netip.Addr
	err := i.do(ctx, func(c conn) error {
		entries, err := c.entries(ctx)
		for _, e := range entries {
			if e.ValidLft == forever {
				ips = append(ips, local(e))
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list lifetimes of %s: %w", i.name, err)
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return slices.Compact(ips), nil
}

// Add puts ip on the interface as /32 or /128, an IPv6 address without duplicate address
// detection, so that it can be used at once. After lifetime the kernel removes the address by itself, up to a second
// late; 0 is for ever. Add again renews the lifetime. The kernel counts in whole seconds: give it those. A fraction
// is cut off, so that the address never stays for longer than it was given, but what is below a second is one.
//
// An IPv6 address is deprecated from the start (preferred_lft 0, RFC 4862 section 5.5.4): it serves whoever connects to
// it, and the host does not choose it as its own for what it connects to, such as its replication, while it has
// another. For an IPv4 address the prefix of /32 has that effect.
//
// An address that is present with another prefix length, put there by hand, counts as present and is left as it is
// when lifetime is 0. With a lifetime it is replaced by the /32 or /128, an IPv6 address for a moment absent, as an
// entry that never ends would outlive the lease.
func (i *Interface) Add(ctx context.Context, ip netip.Addr, lifetime time.Duration) error {
	ip = ip.Unmap()
	if err := check(ip); err != nil {
		return fmt.Errorf("add address to %s: %w", i.name, err)
	}
	if lifetime < 0 {
		return fmt.Errorf("add %s to %s: negative lifetime %s", ip, i.name, lifetime)
	}
	err := i.do(ctx, func(c conn) error { return c.add(ctx, ip, lifetime) })
	if err != nil {
		return fmt.Errorf("add %s/%d to %s: %w", ip, ip.BitLen(), i.name, err)
	}
	return nil
}

// Renew gives ip, which is on the interface, a new lifetime from now, of whole seconds as that of Add; 0: for ever.
// Afterwards nothing of ip is there for longer: an IPv4 address that somebody has put there with another prefix
// length or a peer, instead of ours or beside it, is ours from now on, as /32, without a moment in which it is
// absent. (An IPv6 address is on an interface once; it keeps its prefix length.)
//
// It returns ErrNotPresent if ip is not on the interface, or if the kernel is about to take it away because its time is
// over: it never adds an address, also not one that leaves between the look and the call. (Where only somebody else's
// entry was there, one that leaves in those microseconds does come back, for lifetime.)
func (i *Interface) Renew(ctx context.Context, ip netip.Addr, lifetime time.Duration) error {
	ip = ip.Unmap()
	if err := check(ip); err != nil {
		return fmt.Errorf("renew address on %s: %w", i.name, err)
	}
	if lifetime < 0 {
		return fmt.Errorf("renew %s on %s: negative lifetime %s", ip, i.name, lifetime)
	}
	err := i.do(ctx, func(c conn) error { return c.renew(ctx, ip, lifetime) })
	if err != nil {
		return fmt.Errorf("renew %s/%d on %s: %w", ip, ip.BitLen(), i.name, err)
	}
	return nil
}

// Remove takes every entry of exactly this address off the interface, whatever its prefix length, and looks again:
// nil means that the address is not on the interface. An address that was not there is no error.
// Other addresses stay, also those that the kernel would remove together with ip.
func (i *Interface) Remove(ctx context.Context, ip netip.Addr) error {
	ip = ip.Unmap()
	if err := check(ip); err != nil {
		return fmt.Errorf("remove address from %s: %w", i.name, err)
	}
	err := i.do(ctx, func(c conn) error { return c.remove(ctx, ip) })
	if err != nil {
		return fmt.Errorf("remove %s from %s: %w", ip, i.name, err)
	}
	return nil
}

// do runs f with a connection to the kernel that knows the interface.
func (i *Interface) do(ctx context.Context, f func(conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timeout := kernelTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	if err := h.SetSocketTimeout(timeout); err != nil {
		return fmt.Errorf("set netlink timeout: %w", err)
	}
	link, err := i.find(h)
	if err != nil {
		return explain(err, "CAP_NET_ADMIN")
	}
	return explain(f(conn{h, link}), "CAP_NET_ADMIN")
}

// find looks the name up. The index is all that addresses need, and is had without the description of the interface
// (netdevice(7)): an agent asks several times a second.
func (i *Interface) find(h *netlink.Handle) (netlink.Link, error) {
	request, err := unix.NewIfreq(i.name)
	if err != nil {
		return h.LinkByName(i.name) // too long a name: it has another one besides
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return nil, err
	}
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: i.name, Index: int(request.Uint32())}}, nil
}

// conn is a netlink socket and the interface it is used for, for the length of one call. Of the interface it knows the
// name and the index.
type conn struct {
	h    *netlink.Handle
	link netlink.Link
}

// entries lists all addresses of the interface as the kernel keeps them.
func (c conn) entries(ctx context.Context) ([]netlink.Addr, error) {
	for {
		entries, err := c.h.AddrList(c.link, netlink.FAMILY_ALL)
		// Addresses changed while the kernel was telling them: the list may lack some.
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return entries, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// addresses are those that can be used, sorted, each once.
func (c conn) addresses(ctx context.Context) ([]netip.Addr, error) {
	entries, err := c.entries(ctx)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	for _, e := range entries {
		if !dadFailed(e) {
			ips = append(ips, local(e))
		}
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return slices.Compact(ips), nil
}

func (c conn) add(ctx context.Context, ip netip.Addr, lifetime time.Duration) error {
	entries, err := c.entries(ctx)
	if err != nil {
		return err
	}
	ours, foreign := false, false
	for _, e := range entries {
		switch {
		case local(e) != ip:
		case dadFailed(e):
			// Replacing would keep the mark, and the address would stay unusable.
			if err := c.delete(e); err != nil {
				return err
			}
		case single(e):
			ours = true
		case lifetime == 0:
			foreign = true
		case ip.Is6():
			// It goes first: the address is on an interface once, and replacing would keep its prefix.
			if err := c.delete(e); err != nil {
				return fmt.Errorf("replace %s: %w", e.IPNet, err)
			}
		}
	}
	if foreign && !ours {
		return nil
	}
	if lifetime == 0 {
		return c.h.AddrReplace(c.link, entry(ip, 0))
	}
	return c.lease(ctx, ip, lifetime, entries, false)
}

func (c conn) renew(ctx context.Context, ip netip.Addr, lifetime time.Duration) error {
	entries, err := c.entries(ctx)
	if err != nil {
		return err
	}
	there := false
	for _, e := range entries {
		// Nothing left of its lifetime: it is over, only the kernel's timer has not come round yet.
		if local(e) != ip || dadFailed(e) || e.ValidLft == 0 {
			continue
		}
		if lifetime > 0 {
			ours := func(e netlink.Addr) bool { return local(e) == ip && (single(e) || ip.Is6()) }
			return c.lease(ctx, ip, lifetime, entries, slices.ContainsFunc(entries, ours))
		}
		there = true
		// An entry with another prefix length is somebody else's, and stays as it is; an IPv6 address has but one.
		if (single(e) || ip.Is6()) && e.ValidLft != forever {
			return c.h.AddrReplace(c.link, entry(ip, 0))
		}
	}
	if there {
		return nil
	}
	return ErrNotPresent
}

// lease puts ip there for lifetime, or leaves it there, and takes away what would stay for longer.
func (c conn) lease(ctx context.Context, ip netip.Addr, lifetime time.Duration, entries []netlink.Addr,
	there bool) error {
	put := func(ip netip.Addr, lifetime time.Duration) error { return c.h.AddrReplace(c.link, entry(ip, lifetime)) }
	if there {
		put = func(ip netip.Addr, lifetime time.Duration) error { return c.prolong(ctx, ip, lifetime) }
	}
	if err := put(ip, lifetime); err != nil {
		return err
	}
	var failed error
	for _, e := range entries {
		if ip.Is6() || local(e) != ip || single(e) {
			continue
		}
		if err := c.deleteAlone(e, entries); err != nil {
			failed = errors.Join(failed, fmt.Errorf("take %s away, which is there without a lease: %w", e.IPNet, err))
		}
	}
	return failed
}

// prolong sets the lifetime of an entry that is there, in one call: the kernel has no flag that says so (NLM_F_REPLACE
// adds what is missing), and so it is asked for something else that it does for new addresses only, and can't do. It
// joins the multicast group of an address that is marked autojoin (IFA_F_MCAUTOJOIN, ip-address(8)), which this one is
// not. Kernels before 4.1 don't know the flag: there an address may come back that has just left. One that refuses it
// for an address that is there is asked without: a renewal that fails for good would end a healthy writer's lease.
func (c conn) prolong(ctx context.Context, ip netip.Addr, lifetime time.Duration) error {
	e := entry(ip, lifetime)
	e.Flags |= unix.IFA_F_MCAUTOJOIN
	err := c.h.AddrReplace(c.link, e)
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	entries, err := c.entries(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(entries, func(e netlink.Addr) bool { return local(e) == ip && e.ValidLft != 0 }) {
		return c.h.AddrReplace(c.link, entry(ip, lifetime))
	}
	return ErrNotPresent
}

func (c conn) remove(ctx context.Context, ip netip.Addr) error {
	entries, err := c.entries(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, e := range entries {
		if local(e) == ip {
			failed = errors.Join(failed, c.deleteAlone(e, entries))
		}
	}
	if failed != nil {
		return failed
	}
	entries, err = c.entries(ctx)
	if err != nil {
		return fmt.Errorf("look whether it is gone: %w", err)
	}
	for _, e := range entries {
		if local(e) == ip {
			return fmt.Errorf("still there as %s: something adds it again", e.IPNet)
		}
	}
	return nil
}

// delete removes one entry; one that has gone already is no error.
func (c conn) delete(e netlink.Addr) error {
	if err := c.h.AddrDel(c.link, &e); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	return nil
}

// forever is the lifetime of an address that stays, as the kernel tells it.
const forever = math.MaxUint32

// entry is what Add puts on the interface.
func entry(ip netip.Addr, lifetime time.Duration) *netlink.Addr {
	// To the kernel zero seconds are "not given", and the highest number is for ever.
	seconds := 0
	if lifetime > 0 {
		seconds = int(min(max(lifetime/time.Second, 1), math.MaxUint32-1))
	}
	if ip.Is6() {
		if seconds == 0 {
			seconds = forever // said in so many words, as the preferred lifetime would be taken for it
		}
		return &netlink.Addr{
			IPNet: netlink.NewIPNet(ip.AsSlice()), ValidLft: seconds, PreferedLft: 0,
			// An entry that somebody has made with the prefix of the network keeps it when it is replaced, and would
			// give its end to the route that all of the host's addresses there share.
			Flags: unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE,
		}
	}
	return &netlink.Addr{IPNet: netlink.NewIPNet(ip.AsSlice()), ValidLft: seconds, PreferedLft: seconds}
}

// local is the address of an entry itself, not that of its peer.
func local(e netlink.Addr) netip.Addr {
	ip, _ := netip.AddrFromSlice(e.IP)
	return ip.Unmap()
}

// prefix is the network of an entry; on a point-to-point entry that is the network of the peer (RTM_NEWADDR in
// rtnetlink(7): IFA_ADDRESS is the prefix address).
func prefix(e netlink.Addr) netip.Prefix {
	network := e.IPNet
	if e.Peer != nil {
		network = e.Peer
	}
	ip, _ := netip.AddrFromSlice(network.IP)
	bits, _ := network.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits).Masked()
}

// single is true for an entry that covers its own address and nothing else, like those of Add.
func single(e netlink.Addr) bool {
	ip := local(e)
	return prefix(e) == netip.PrefixFrom(ip, ip.BitLen())
}

func dadFailed(e netlink.Addr) bool { return local(e).Is6() && e.Flags&unix.IFA_F_DADFAILED != 0 }

func check(ip netip.Addr) error {
	if !ip.IsValid() || ip.Zone() != "" {
		return fmt.Errorf("want an address without a zone, got %s", ip)
	}
	return nil
}

// explain makes errors of the kernel readable; capability is what a refusal lacks.
func explain(err error, capability string) error {
	var notFound netlink.LinkNotFoundError
	switch {
	case errors.As(err, &notFound), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return ErrNoInterface
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (run as root or with %s)", err, capability)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("no answer from the kernel in time: %w", err)
	}
	return err
}
