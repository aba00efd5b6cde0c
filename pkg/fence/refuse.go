package fence

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Departures answers clients that still look on this host for an address that has just left it. Until the neighbours
// have heard where the address is now, its packets come here and would be dropped in silence: a client then waits for
// its own timeout, or for its kernel's first retransmission, after a second. With a reset it tries again at once.
//
// Departures is a courtesy, not a fence: nothing depends on it. Its rules are in the nftables table "mmm_departures"
// (family inet), and the kernel removes each address from that table when its time is over. It needs CAP_NET_ADMIN and
// Linux 5.9 (reject in prerouting).
type Departures struct{}

const departures = "mmm_departures"

// Prepare makes the rules, or makes them anew, so that Refuse has only to add an address.
func (Departures) Prepare(ctx context.Context) error {
	if err := do(ctx, prepareDepartures); err != nil {
		return fmt.Errorf("prepare to refuse connections: %w", err)
	}
	return nil
}

// Refuse answers every TCP segment for ip with a reset for the time during, also where ip is on this host: call Welcome
// before ip comes back. Where the rules are missing it prepares them.
func (Departures) Refuse(ctx context.Context, ip netip.Addr, during time.Duration) error {
	ip = ip.Unmap()
	add := func(c *nftables.Conn) error {
		_, set, set6 := departureSets()
		if ip.Is6() {
			set = set6
		}
		if err := c.SetAddElements(set, []nftables.SetElement{{Key: ip.AsSlice(), Timeout: during}}); err != nil {
			return err
		}
		return c.Flush()
	}
	err := do(ctx, add)
	if errors.Is(err, unix.ENOENT) {
		if err = do(ctx, prepareDepartures); err == nil {
			err = do(ctx, add)
		}
	}
	if err != nil {
		return fmt.Errorf("refuse connections to %s: %w", ip, err)
	}
	return nil
}

// prepareDepartures is one transaction.
func prepareDepartures(c *nftables.Conn) error {
	table, set4, set6 := departureSets()
	c.AddTable(table)
	for _, s := range []*nftables.Set{set4, set6} {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	policy := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{
		Name: "prerouting", Table: table, Type: nftables.ChainTypeFilter, Policy: &policy,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(priority),
	})
	c.FlushChain(chain)
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: refusal(unix.NFPROTO_IPV4, destination.v4, set4)})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: refusal(unix.NFPROTO_IPV6, destination.v6, set6)})
	return c.Flush()
}

// Welcome ends what Refuse began for ip. It is no error where ip was not refused.
func (Departures) Welcome(ctx context.Context, ip netip.Addr) error {
	ip = ip.Unmap()
	err := do(ctx, func(c *nftables.Conn) error {
		_, set, set6 := departureSets()
		if ip.Is6() {
			set = set6
		}
		if err := c.SetDeleteElements(set, []nftables.SetElement{{Key: ip.AsSlice()}}); err != nil {
			return err
		}
		return c.Flush()
	})
	if err != nil && !errors.Is(err, unix.ENOENT) && !unknown(err) {
		return fmt.Errorf("welcome connections to %s: %w", ip, err)
	}
	return nil
}

// departureSets are the table and its two sets. Rules of the same transaction refer to a set by its ID.
func departureSets() (table *nftables.Table, v4, v6 *nftables.Set) {
	table = &nftables.Table{Family: nftables.TableFamilyINet, Name: departures}
	v4 = &nftables.Set{Table: table, Name: "v4", ID: 1, KeyType: nftables.TypeIPAddr, HasTimeout: true}
	v6 = &nftables.Set{Table: table, Name: "v6", ID: 2, KeyType: nftables.TypeIP6Addr, HasTimeout: true}
	return table, v4, v6
}

func refusal(family byte, offset uint32, set *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset,
			Len: uint32(set.KeyType.Bytes)},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		&expr.Reject{Type: unix.NFT_REJECT_TCP_RST},
	}
}
