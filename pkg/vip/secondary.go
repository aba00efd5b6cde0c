package vip

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// deleteAlone removes the entry e and nothing else. all are the entries of the interface.
//
// Linux takes the secondaries of an IPv4 subnet away with its primary unless the sysctl promote_secondaries is set
// (Documentation/networking/ip-sysctl.rst). A VIP put on the interface by hand as 10.0.0.5/24 before the host's own
// address is such a primary: if it were removed without care, the host would be off the network, without its gateway
// routes. So each secondary is held by a /32 of the same address while its primary is removed, and is put back
// afterwards; its connections and routes live on. With promote_secondaries set this changes nothing.
//
// To remove e matters most: a secondary that can't be held or put back is an error, but no reason to keep an
// address that another host may be about to take.
func (c conn) deleteAlone(e netlink.Addr, all []netlink.Addr) error {
	var failed error
	others := secondaries(e, all)
	var holds []netlink.Addr
	for _, o := range others {
		hold := held(o)
		switch err := c.h.AddrAdd(c.link, &hold); {
		case err == nil:
			holds = append(holds, hold)
		case !errors.Is(err, unix.EEXIST): // a /32 that is there already serves as well, and stays
			failed = errors.Join(failed, fmt.Errorf("hold %s: %w", o.IPNet, err))
		}
	}
	failed = errors.Join(failed, c.delete(e))
	for _, o := range others {
		again := restored(o)
		if err := c.h.AddrReplace(c.link, &again); err != nil {
			failed = errors.Join(failed, fmt.Errorf("put %s back: %w", o.IPNet, err))
		}
	}
	for _, hold := range holds {
		if err := c.delete(hold); err != nil {
			failed = errors.Join(failed, fmt.Errorf("let go of %s: %w", hold.IPNet, err))
		}
	}
	return failed
}

// secondaries are the entries that the kernel removes together with e.
func secondaries(e netlink.Addr, all []netlink.Addr) []netlink.Addr {
	// In IPv6 the same bit means a temporary address (RFC 8981), which depends on no other address.
	if local(e).Is6() || e.Flags&unix.IFA_F_SECONDARY != 0 {
		return nil
	}
	var others []netlink.Addr
	for _, o := range all {
		if o.Flags&unix.IFA_F_SECONDARY != 0 && prefix(o) == prefix(e) {
			others = append(others, o)
		}
	}
	return others
}

// held is the /32 that keeps the address of o alive for a moment.
func held(o netlink.Addr) netlink.Addr {
	return netlink.Addr{
		IPNet: netlink.NewIPNet(o.IP), Scope: o.Scope, ValidLft: o.ValidLft, PreferedLft: o.PreferedLft,
	}
}

// restored is the request that makes the entry o again as it was.
func restored(o netlink.Addr) netlink.Addr {
	o.Flags &^= unix.IFA_F_SECONDARY | unix.IFA_F_PERMANENT // the kernel sets these two by itself
	if o.Broadcast == nil {
		o.Broadcast = net.IPv4zero // none: for nil the library computes one
	}
	return o
}
