// Package vip puts virtual addresses on this machine, takes them off again and tells the neighbours.
//
// It speaks rtnetlink for addresses and packet sockets for announcements; it runs no commands. It does not know which
// addresses ought to be on this machine: the caller decides that, from its orders and from List.
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
	// ErrNotPresent means that the address is not on the interface, or is about to leave it: Renew has nothing to
	// renew.
	ErrNotPresent = errors.New("address is not present")
)

// The kernel answers netlink requests at once. This is how long a call waits when it does not.
const kernelTimeout = 5 * time.Second

// Interface is one network interface, known by its name ("cluster_interface"). The interface may vanish and come
// back: every call looks the name up again. Calls may be made from several goroutines, but two calls about the
// same address at the same time have no defined order.
//
// Addresses are IPv4 or IPv6 without a zone; IPv4 in IPv6 form counts as IPv4.
// All errors name the interface; they are ErrNoInterface when it is missing.
type Interface struct {
	name string
}

// Open only remembers the name; the interface need not exist.
func Open(name string) *Interface { return &Interface{name: name} }

// List returns the addresses on the interface, sorted. An address with several entries (prefix lengths) is listed once.
// The link may be up or down. An IPv6 address that the kernel found in use elsewhere (dadfailed, RFC 4862 section 5.4)
// is not usable and is left out.
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

// Lasting returns the addresses on the interface that stay until somebody takes them off: each has at least one entry
// without a lifetime. They are sorted, each listed once.
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
// late; lifetime 0 is for ever. A second Add of the address sets its lifetime anew. The kernel counts in whole seconds,
// so give whole seconds. A fraction is cut off, so that the lifetime is never longer than asked for; a lifetime below
// one second becomes one second.
//
// An IPv6 address is deprecated from the start (preferred_lft 0, RFC 4862 section 5.5.4): clients can connect to it,
// but the host does not use it as the source of its own connections, such as that of its replication, while it has
// another address. For an IPv4 address the prefix of /32 has that effect.
//
// An address that is present with another prefix length, put there by hand, counts as present and is left as it is
// when lifetime is 0. With a lifetime it is replaced by the /32 or /128, because an entry that never ends would outlive
// the lease. An IPv6 address is absent for a moment while it is replaced.
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

// Renew gives ip, which is on the interface, a new lifetime that begins now, in whole seconds as for Add; 0 is for
// ever. Where lifetime is above 0 no entry of ip outlives it afterwards: entries of an IPv4 address that somebody has
// made with another prefix length or a peer, instead of Add's /32 or beside it, are replaced by the /32, and the
// address is never absent meanwhile. (An IPv6 address has one entry on an interface; it keeps its prefix length.) With
// lifetime 0 such entries stay as they are.
//
// It returns ErrNotPresent if ip is not on the interface, or if the kernel is about to remove it because its lifetime
// is over. Renew never adds an address, not even one that leaves between the look at the interface and the change. One
// exception: where the only entry was somebody else's, and it leaves in those microseconds, the address comes back for
// lifetime.
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
// nil means that the address is not on the interface. It is no error if the address was not there before.
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

// find looks the name up. Calls about addresses need the index of the interface and nothing else. An agent asks for it
// several times a second, so find doesn't fetch the whole description of the interface (netdevice(7)).
func (i *Interface) find(h *netlink.Handle) (netlink.Link, error) {
	request, err := unix.NewIfreq(i.name)
	if err != nil {
		return h.LinkByName(i.name) // longer than the kernel's short names: it may be an alternative name (ip-link(8))
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

// conn is a netlink socket and the interface it is used for, for the length of one call. Of link only the name and the
// index are certain to be filled in.
type conn struct {
	h    *netlink.Handle
	link netlink.Link
}

// entries lists all addresses of the interface as the kernel keeps them.
func (c conn) entries(ctx context.Context) ([]netlink.Addr, error) {
	for {
		entries, err := c.h.AddrList(c.link, netlink.FAMILY_ALL)
		// Addresses changed while the kernel was listing them: the list may lack some.
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return entries, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// addresses returns the addresses that can be used, sorted, each once.
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
			// Replacing the entry would keep the flag dadfailed, and the address would stay unusable.
			if err := c.delete(e); err != nil {
				return err
			}
		case single(e):
			ours = true
		case lifetime == 0:
			foreign = true
		case ip.Is6():
			// An IPv6 address has one entry on an interface, and replacing that would keep its prefix length: so it is
			// deleted first.
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
		// ValidLft 0: the lifetime is over, and the kernel's timer has yet to remove the entry.
		if local(e) != ip || dadFailed(e) || e.ValidLft == 0 {
			continue
		}
		if lifetime > 0 {
			ours := func(e netlink.Addr) bool { return local(e) == ip && (single(e) || ip.Is6()) }
			return c.lease(ctx, ip, lifetime, entries, slices.ContainsFunc(entries, ours))
		}
		there = true
		// An entry with another prefix length is somebody else's, and stays as it is. An IPv6 address has one entry
		// only, so that is always made permanent.
		if (single(e) || ip.Is6()) && e.ValidLft != forever {
			return c.h.AddrReplace(c.link, entry(ip, 0))
		}
	}
	if there {
		return nil
	}
	return ErrNotPresent
}

// lease gives the entry that is ours the lifetime: it adds that entry, or, where there says that it is on the
// interface, prolongs it. Then it deletes all other entries of an IPv4 address, as they may stay for longer.
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

// prolong sets the lifetime of an entry that is present, in one request, and does not add the address if the entry has
// just left. The kernel has no flag for that: NLM_F_REPLACE adds an entry that is missing. So the request also asks for
// autojoin (IFA_F_MCAUTOJOIN, ip-address(8)), which the kernel does for new addresses only: it joins the multicast
// group of the address, and fails with EINVAL, as ip is no multicast address.
//
// Kernels before 4.1 don't know the flag: there an address that has just left may come back. A kernel that refuses the
// flag although the address is present is asked again without it: a renewal that fails for good would end a healthy
// writer's lease.
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

// delete removes one entry. It is no error if the entry has gone already.
func (c conn) delete(e netlink.Addr) error {
	if err := c.h.AddrDel(c.link, &e); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	return nil
}

// forever is what the kernel says for the lifetime of an address that stays.
const forever = math.MaxUint32

// entry is what Add puts on the interface.
func entry(ip netip.Addr, lifetime time.Duration) *netlink.Addr {
	// The library sends no lifetime at all where both are 0, which the kernel takes for "for ever", as it does the
	// highest number.
	seconds := 0
	if lifetime > 0 {
		seconds = int(min(max(lifetime/time.Second, 1), math.MaxUint32-1))
	}
	if ip.Is6() {
		if seconds == 0 {
			seconds = forever // not 0: the library would leave the preferred lifetime of 0 out as well
		}
		return &netlink.Addr{
			IPNet: netlink.NewIPNet(ip.AsSlice()), ValidLft: seconds, PreferedLft: 0,
			// NOPREFIXROUTE: an entry that somebody has made with the prefix length of the network keeps that length
			// when it is replaced. Without the flag the kernel would give its lifetime to the route of that network,
			// which all addresses of the host there share.
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

// single is true for an entry that covers its own address and nothing else (/32 or /128), like those of Add.
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

// explain makes errors of the kernel readable. capability names what this process lacks where the kernel refuses.
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
