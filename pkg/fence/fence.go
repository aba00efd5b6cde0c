// Package fence closes a TCP port of this host to clients with a firewall rule, and opens it again.
//
// Port is for a database server that no client may reach any more, whatever the server itself still does: a server that
// hangs can't be told to deny writes, but the kernel can be told to let nobody in. The package speaks nftables over
// netlink and runs no commands. It does not decide when to close, and ends no connection that is idle: see Port.Close.
//
// Two more types are courtesies to clients. Departures answers those that still look here for an address that has moved
// with a reset. Newcomers keeps new clients away from a server that is about to give its role up.
package fence

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	chainName = "input"
	// Before the host's own filters (priority 0), so that clients get a reset also where those filters drop in silence.
	priority = -10
	// The kernel answers netlink at once; this bounds the wait should it ever not.
	kernelTimeout = 5 * time.Second
)

// Port is one TCP port of this host, in the network namespace of the process. Its rules are in an nftables table of
// their own, named "mmm_fence_" and the number (family inet), so that another process, or this program after a restart,
// finds them again. Only one call for a port may run at a time.
//
// All methods need CAP_NET_ADMIN and a kernel with nf_tables (CONFIG_NF_TABLES_INET, CONFIG_NFT_REJECT_INET).
type Port struct {
	Number uint16 // 1 to 65535
	// Peers may connect, and stay connected, while the port is closed: replicas, and the host's own address if somebody
	// here connects by it. IPv4 or IPv6 without a zone; IPv4 in IPv6 form counts as IPv4.
	Peers []netip.Addr
}

// Close answers every TCP segment that comes to the port with a reset (RFC 9293 section 3.5.2), those of new and those
// of established connections, unless the segment is for a loopback address or comes from one of Peers. A client notices
// when it next sends something. A client that only waits for an answer does not notice, and still gets what the server
// writes. Another Close replaces the rules in one step, as when Peers has changed.
//
// "nft flush ruleset", as a reload of the nftables service runs it, opens the port: call Closed from time to time.
func (p Port) Close(ctx context.Context) error {
	if p.Number == 0 {
		return errors.New("close port: want a port from 1 to 65535, got 0")
	}
	peers, err := unmapped(p.Peers)
	if err != nil {
		return fmt.Errorf("close port %d: %w", p.Number, err)
	}
	err = do(ctx, func(c *nftables.Conn) error {
		// One transaction. Deleting a table that is not there would fail, so the table is added first.
		c.AddTable(p.table())
		c.DelTable(p.table())
		table := c.AddTable(p.table())
		policy := nftables.ChainPolicyAccept
		chain := c.AddChain(&nftables.Chain{
			Name: chainName, Table: table, Type: nftables.ChainTypeFilter, Policy: &policy,
			Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRef(priority),
		})
		for _, exprs := range rules(p.Number, peers) {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
		}
		return c.Flush()
	})
	if err != nil {
		return fmt.Errorf("close port %d: %w", p.Number, err)
	}
	return nil
}

// Open takes the rules away. It is no error where there are none, or where the kernel has no nf_tables.
func (p Port) Open(ctx context.Context) error {
	err := do(ctx, func(c *nftables.Conn) error {
		c.DelTable(p.table())
		return c.Flush()
	})
	if err != nil && !errors.Is(err, unix.ENOENT) && !unknown(err) {
		return fmt.Errorf("open port %d: %w", p.Number, err)
	}
	return nil
}

// unknown is true where the kernel has no nf_tables: no netfilter sockets at all, or none that know the subsystem.
func unknown(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)
}

// Closed says whether the rules are in force, whichever process has made them and for whichever peers.
func (p Port) Closed(ctx context.Context) (bool, error) {
	closed := false
	err := do(ctx, func(c *nftables.Conn) error {
		t, err := c.ListTableOfFamily(p.table().Name, nftables.TableFamilyINet)
		if err != nil || dormant(t) {
			return err
		}
		// A chain that is missing has no rules, which is no error.
		rules, err := c.GetRules(t, &nftables.Chain{Name: chainName, Table: t})
		if err != nil || len(rules) == 0 {
			return err
		}
		for _, e := range rules[len(rules)-1].Exprs {
			if _, ok := e.(*expr.Reject); ok {
				closed = true
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return false, fmt.Errorf("look whether port %d is closed: %w", p.Number, err)
	}
	return closed, nil
}

func (p Port) table() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: fmt.Sprintf("mmm_fence_%d", p.Number)}
}

// dormant says whether a table is switched off, so that its rules do nothing: NFT_TABLE_F_DORMANT in
// linux/netfilter/nf_tables.h. The kernel gives the flags in network byte order; the library (0.3.0) reads them in the
// machine's.
func dormant(t *nftables.Table) bool {
	const flag = 1
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, t.Flags))&flag != 0
}

// do runs f with a connection to the kernel that keeps to the deadline of ctx, and to kernelTimeout.
func do(ctx context.Context, f func(*nftables.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline := time.Now().Add(kernelTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return c.SetDeadline(deadline)
	}))
	if err != nil {
		return fmt.Errorf("open nftables socket: %w", err)
	}
	defer c.CloseLasting()
	if err := f(c); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (run as root or with CAP_NET_ADMIN)", err)
	} else if err != nil {
		return err
	}
	return nil
}

// unmapped returns the addresses as they are in packets: IPv4 in IPv6 form as IPv4. A zone is an error.
func unmapped(peers []netip.Addr) ([]netip.Addr, error) {
	var plain []netip.Addr
	for _, ip := range peers {
		if !ip.IsValid() || ip.Zone() != "" {
			return nil, fmt.Errorf("want peers without a zone, got %s", ip)
		}
		plain = append(plain, ip.Unmap())
	}
	return plain, nil
}

// rules are the rules of a closed port: they accept what may come in, then reject the rest.
func rules(port uint16, peers []netip.Addr) [][]expr.Any {
	reject := &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}
	return append(spared(port, peers), append(toPort(port), reject))
}

// spared are the rules that accept what always may come in: segments for loopback addresses, and those from peers.
func spared(port uint16, peers []netip.Addr) [][]expr.Any {
	all := [][]expr.Any{
		accept(port, destination, netip.MustParsePrefix("127.0.0.0/8")),
		accept(port, destination, netip.MustParsePrefix("::1/128")),
	}
	for _, ip := range peers {
		all = append(all, accept(port, source, netip.PrefixFrom(ip, ip.BitLen())))
	}
	return all
}

// side is the offset in bytes of an address in the IPv4 (RFC 791 section 3.1) and IPv6 (RFC 8200 section 3) header.
type side struct{ v4, v6 uint32 }

var (
	source      = side{12, 8}
	destination = side{16, 24}
)

func accept(port uint16, of side, network netip.Prefix) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), of.v4
	if network.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, of.v6
	}
	length := uint32(network.Addr().BitLen() / 8)
	mask := make([]byte, length)
	for bit := range network.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	return append(toPort(port),
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: network.Addr().AsSlice()},
		&expr.Verdict{Kind: expr.VerdictAccept},
	)
}

func toPort(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
	}
}
