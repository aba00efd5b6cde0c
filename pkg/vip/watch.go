package vip

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A subscription that breaks (too many messages at once, no file descriptors left) is made anew after this.
const resubscribePause = 200 * time.Millisecond

// Watch signals whenever addresses or the link of the interface change, by whomever, and once when it begins to
// listen (again), as it has not seen what came before. A signal says only "look": it is a send to changed that does
// not wait, so give changed a buffer of one. Watch returns when ctx ends: nil, or what kept it from listening then.
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

// follow is Watch until the first error.
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

	// Subscribed first, looked up second: an interface that appears in between is in both.
	index, err := i.index(ctx)
	if err != nil {
		return err
	}
	signal(changed)
	known := map[string]bool{} // addresses seen to be there: news of them is a renewed lifetime, which changes nothing
	for {
		msgs, from, err := sock.Receive()
		if err != nil {
			return fmt.Errorf("receive from netlink: %w", err)
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		ours := false
		for _, m := range msgs {
			switch m.Header.Type {
			case unix.RTM_NEWADDR, unix.RTM_DELADDR:
				if int(nl.DeserializeIfAddrmsg(m.Data).Index) != index {
					continue
				}
				added, key := m.Header.Type == unix.RTM_NEWADDR, addressKey(m.Data)
				ours = ours || !added || !known[key]
				known[key] = added
			case unix.RTM_NEWLINK, unix.RTM_DELLINK:
				// The name may have come to, or gone from, an interface: created, deleted, renamed.
				before := index
				if index, err = i.index(ctx); err != nil {
					return err
				}
				about := int(nl.DeserializeIfInfomsg(m.Data).Index)
				if about == before || about == index {
					ours = true
					clear(known)
				}
			}
		}
		if ours {
			signal(changed)
		}
	}
}

// addressKey names the entry that an address message is about.
func addressKey(data []byte) string {
	msg := nl.DeserializeIfAddrmsg(data)
	attrs, err := nl.ParseRouteAttr(data[msg.Len():])
	key := fmt.Sprint(msg.Prefixlen)
	for _, a := range attrs {
		if err == nil && (a.Attr.Type == unix.IFA_LOCAL || a.Attr.Type == unix.IFA_ADDRESS) {
			key += fmt.Sprintf(" %x", a.Value)
		}
	}
	return key
}

// index is the number of the interface now, 0 when it is missing.
func (i *Interface) index(ctx context.Context) (int, error) {
	var index int
	err := i.do(ctx, func(c conn) error {
		index = c.link.Attrs().Index
		return nil
	})
	if errors.Is(err, ErrNoInterface) {
		return 0, nil
	}
	return index, err
}

func signal(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}
