package fence

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Newcomers refuses new connections to a port for a while, so that clients of a server that is about to give its role
// up don't come back to it. Connections that exist go on. The hosts of the cluster may connect: a server that its agent
// and its monitor can't reach would count as dead.
//
// Newcomers is a courtesy as Departures is. The kernel ends the refusing by itself when its time is over, also where
// the process that began it was killed. The rules are in the nftables table named "mmm_newcomers_" and the number
// (family inet). Only one call for a port may run at a time. It needs what Port needs.
type Newcomers struct {
	Number uint16 // 1 to 65535
	// Peers may connect. They are addresses as in Port.Peers.
	Peers []netip.Addr
}

const refusedPorts = "refused"

// Refuse answers with a reset whoever opens a connection to the port within the time during. Connections to loopback
// addresses, and from Peers and the address besides, are let in; besides may be the zero Addr, for none. Another Refuse
// replaces the rules, and the time begins anew.
func (n Newcomers) Refuse(ctx context.Context, besides netip.Addr, during time.Duration) error {
	peers := slices.Clone(n.Peers)
	if besides.IsValid() {
		peers = append(peers, besides)
	}
	peers, err := unmapped(peers)
	if err == nil && n.Number == 0 {
		err = errors.New("want a port from 1 to 65535, got 0")
	}
	if err == nil {
		err = do(ctx, func(c *nftables.Conn) error { return n.refuse(c, peers, during) })
	}
	if err != nil {
		return fmt.Errorf("refuse new connections to port %d: %w", n.Number, err)
	}
	return nil
}

// refuse is one transaction.
func (n Newcomers) refuse(c *nftables.Conn, peers []netip.Addr, during time.Duration) error {
	c.AddTable(n.table()) // deleting a table that is not there would fail
	c.DelTable(n.table())
	table := c.AddTable(n.table())
	set := &nftables.Set{Table: table, Name: refusedPorts, ID: 1, KeyType: nftables.TypeInetService, HasTimeout: true}
	port := binary.BigEndian.AppendUint16(nil, n.Number)
	if err := c.AddSet(set, []nftables.SetElement{{Key: port, Timeout: during}}); err != nil {
		return err
	}
	policy := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{
		Name: chainName, Table: table, Type: nftables.ChainTypeFilter, Policy: &policy,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRef(priority),
	})
	for _, exprs := range append(spared(n.Number, peers), rejectNew(set)) {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	}
	return c.Flush()
}

// Welcome ends what Refuse began, also in another process. It is no error where nobody is refused.
func (n Newcomers) Welcome(ctx context.Context) error {
	err := do(ctx, func(c *nftables.Conn) error {
		c.DelTable(n.table())
		return c.Flush()
	})
	if err != nil && !errors.Is(err, unix.ENOENT) && !unknown(err) {
		return fmt.Errorf("welcome new connections to port %d: %w", n.Number, err)
	}
	return nil
}

func (n Newcomers) table() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: fmt.Sprintf("mmm_newcomers_%d", n.Number)}
}

// rejectNew is the rule that answers the first segment of a connection to a port in the set with a reset. Such a
// segment has SYN and no ACK (RFC 9293 section 3.5).
func rejectNew(set *nftables.Set) []expr.Any {
	const (
		flagsAt          = 13
		fin, syn, rs, ak = 1, 2, 4, 16
	)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: flagsAt, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{fin | syn | rs | ak}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syn}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		&expr.Reject{Type: unix.NFT_REJECT_TCP_RST},
	}
}
