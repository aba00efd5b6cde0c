package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A netlink subscription that breaks (too many messages at once, no file descriptors left) is made anew after this.
const resubscribePause = 200 * time.Millisecond

// Watch signals whenever the link of the interface or the result of List changes, whoever changed it. It also signals
// each time it begins to listen, as it may have missed changes before. An address that leaves is signalled even if it
// is back at once; an address that only gets a new lifetime is not. A signal says nothing but "look": it is a send to
// changed that does not wait, so give changed a buffer of one. Watch returns when ctx ends: nil, or the error that kept
// it from listening at that time.
func (i *Interface) Watch(ctx context.Context, changed chan<- struct{}) error {
	for {
		err := i.follow(ctx, changed)
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("watch %s: %w", i.name, err)
		case <-time.After(resubscribePause):
		}
	}
}

// follow does what Watch does, and returns at the first error.
func (i *Interface) follow(ctx context.Context, changed chan<- struct{}) error {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return fmt.Errorf("subscribe to netlink: %w", err)
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { sock.Close(); close(closed) }) // ends a Receive under way
	defer func() {
		if stop() {
			sock.Close()
		} else {
			<-closed
		}
	}()

	// The subscription comes before the look, so that no change in between is missed.
	seen, err := i.look(ctx)
	if err != nil {
		return err
	}
	signal(changed)
	for {
		msgs, from, err := sock.Receive()
		if err != nil {
			return fmt.Errorf("receive from netlink: %w", err)
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		for _, m := range msgs {
			var about int
			switch m.Header.Type {
			case unix.RTM_NEWADDR, unix.RTM_DELADDR:
				about = int(nl.DeserializeIfAddrmsg(m.Data).Index)
				if about != seen.index || renews(m, seen.addresses) {
					continue
				}
			case unix.RTM_NEWLINK, unix.RTM_DELLINK:
				// An interface was created, deleted or renamed, and may have got or lost the name that is watched.
				about = int(nl.DeserializeIfInfomsg(m.Data).Index)
			default:
				continue
			}
			before := seen
			if seen, err = i.look(ctx); err != nil {
				return err
			}
			mayBeRenewal := m.Header.Type == unix.RTM_NEWADDR
			ours := about == before.index || about == seen.index
			if ours && !mayBeRenewal || !slices.Equal(seen.addresses, before.addresses) {
				signal(changed)
			}
		}
	}
}

// renews says whether m is about an address that is in there and can be used: then nothing but its lifetime has
// changed.
func renews(m syscall.NetlinkMessage, there []netip.Addr) bool {
	about := nl.DeserializeIfAddrmsg(m.Data)
	if m.Header.Type != unix.RTM_NEWADDR || about.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
		return false
	}
	attrs, err := nl.ParseRouteAttr(m.Data[about.Len():])
	if err != nil {
		return false
	}
	// An IPv4 message has the address in IFA_LOCAL and that of its peer in IFA_ADDRESS; an IPv6 message has the address
	// in IFA_ADDRESS (rtnetlink(7)).
	kind := uint16(unix.IFA_ADDRESS)
	if about.Family == unix.AF_INET {
		kind = unix.IFA_LOCAL
	}
	i := slices.IndexFunc(attrs, func(a syscall.NetlinkRouteAttr) bool { return a.Attr.Type == kind })
	if i < 0 {
		return false
	}
	ip, ok := netip.AddrFromSlice(attrs[i].Value)
	return ok && slices.Contains(there, ip.Unmap())
}

// view is what Watch compares to tell a change from a renewal.
type view struct {
	index     int // of the interface, 0 when it is missing
	addresses []netip.Addr
}

func (i *Interface) look(ctx context.Context) (view, error) {
	var v view
	err := i.do(ctx, func(c conn) (err error) {
		v.index = c.link.Attrs().Index
		v.addresses, err = c.addresses(ctx)
		return err
	})
	if errors.Is(err, ErrNoInterface) {
		return view{}, nil
	}
	return v, err
}

func signal(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}
