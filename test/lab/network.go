package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

const bridge = "lab0"

// Host is one machine of the lab: a network namespace on the common bridge.
type Host struct {
	Name string
	IP   netip.Addr
	ns   netns.NsHandle
	port string // name of the link at the bridge's end of its cable
}

// makeBridge makes the bridge, the switch to which all hosts are connected.
func makeBridge() error {
	b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
	if err := netlink.LinkAdd(b); err != nil {
		return fmt.Errorf("make bridge: %w", err)
	}
	return netlink.LinkSetUp(b)
}

func removeBridge() error {
	l, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	return netlink.LinkDel(l)
}

// remove takes the host's cable away. The kernel removes its namespace when the last process in it has ended.
func (h *Host) remove() error {
	l, err := netlink.LinkByName(h.port)
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkDel(l), h.ns.Close())
}

// newHost makes a host: a namespace with an eth0 that has the address ip/24 and is connected to the bridge.
func newHost(name string, ip netip.Addr) (*Host, error) {
	h := &Host{Name: name, IP: ip, port: "p-" + name}
	var err error
	if h.ns, err = newNamespace(); err != nil {
		return nil, fmt.Errorf("make namespace of %s: %w", name, err)
	}
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return nil, err
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: h.port, MasterIndex: br.Attrs().Index}, PeerName: "eth0",
		PeerNamespace: netlink.NsFd(h.ns)}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("connect %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return nil, err
	}
	nl, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return nil, err
	}
	defer nl.Close()
	for _, link := range []string{"lo", "eth0"} {
		l, err := nl.LinkByName(link)
		if err != nil {
			return nil, err
		}
		if link == "eth0" {
			if err := nl.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(),
				Mask: net.CIDRMask(24, 32)}}); err != nil {
				return nil, err
			}
		}
		if err := nl.LinkSetUp(l); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// newNamespace makes a network namespace without a name. This thread stays in the namespace in which it was.
func newNamespace() (netns.NsHandle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return 0, err
	}
	defer here.Close()
	made, err := netns.New()
	if err != nil {
		return 0, err
	}
	return made, netns.Set(here)
}

// Do runs f on a thread in this host's namespace. Sockets that f opens stay on this host, and so do processes that it
// starts; goroutines that it starts are not on this host.
func (h *Host) Do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	if err := netns.Set(h.ns); err != nil {
		return err
	}
	err = f()
	if back := netns.Set(here); back != nil {
		panic(fmt.Sprintf("lab: can't leave %s: %v", h.Name, back))
	}
	return err
}

// Start starts a program on this host.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// Run runs a program on this host to its end and returns what it printed. An exit status other than 0 is an error.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out []byte
	err := h.Do(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return string(out), fmt.Errorf("%s: %v: %w: %s", h.Name, cmd.Args, err, out)
	}
	return string(out), nil
}

// Dial connects from this host to an ip:port.
func (h *Host) Dial(ctx context.Context, addr string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp4", addr)
		return err
	})
	return conn, err
}

// Addresses lists the IPv4 addresses on the host's eth0, in order, without the host's own address.
func (h *Host) Addresses() ([]netip.Addr, error) {
	nl, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return nil, err
	}
	defer nl.Close()
	l, err := nl.LinkByName("eth0")
	if err != nil {
		return nil, err
	}
	list, err := nl.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	for _, a := range list {
		if ip, _ := netip.AddrFromSlice(a.IP); ip.Unmap() != h.IP {
			ips = append(ips, ip.Unmap())
		}
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return ips, nil
}

// SetAddress adds an address with a prefix length to eth0, as an admin would by hand, or removes it.
func (h *Host) SetAddress(p netip.Prefix, on bool) error {
	nl, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return err
	}
	defer nl.Close()
	l, err := nl.LinkByName("eth0")
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}
	if on {
		return nl.AddrAdd(l, a)
	}
	return nl.AddrDel(l, a)
}

// Mislead makes this host believe that ip is at a hardware address that nobody has.
func (h *Host) Mislead(ip netip.Addr) error {
	nl, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return err
	}
	defer nl.Close()
	l, err := nl.LinkByName("eth0")
	if err != nil {
		return err
	}
	return nl.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V4,
		State: netlink.NUD_REACHABLE,
		IP:    ip.AsSlice(), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 0x99}})
}

// Cut disconnects the host from the network, as if its cable were pulled out, or connects it again.
func (h *Host) Cut(off bool) error {
	l, err := netlink.LinkByName(h.port)
	if err != nil {
		return err
	}
	if off {
		return netlink.LinkSetDown(l)
	}
	return netlink.LinkSetUp(l)
}
