package vip

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"mysql-mmm/pkg/nstest"
)

func TestWho(t *testing.T) {
	l, r := eth0(t)
	i, from := Open("eth0"), netip.MustParseAddr("10.0.0.1")
	who := func(wait time.Duration) []byte {
		t.Helper()
		mac, err := i.Who(t.Context(), vip4, from, wait)
		nstest.Must(t, err)
		return mac
	}
	r.add("10.0.0.100/24")
	if mac := who(probeWait); mac != nil {
		t.Errorf("%x has it, want nobody", mac)
	}
	r.add("10.0.0.5/32")
	if mac := who(time.Second); !bytes.Equal(mac, r.link.Attrs().HardwareAddr) {
		t.Errorf("%x has it, want %s", mac, r.link.Attrs().HardwareAddr)
	}
	nstest.Must(t, i.Add(t.Context(), vip4, 0)) // theirs counts, ours does not
	if mac := who(time.Second); !bytes.Equal(mac, r.link.Attrs().HardwareAddr) {
		t.Errorf("%x has it, want %s", mac, r.link.Attrs().HardwareAddr)
	}
	r.del("10.0.0.5/32")
	if mac := who(probeWait); mac != nil {
		t.Errorf("%x has it, want nobody else", mac)
	}
	// A host that is about to take the address and probes for it must not take the question for a claim.
	q, err := whoQuestion(l.Attrs().HardwareAddr, vip4, from)
	nstest.Must(t, err)
	if mac := arpClaim(q.payload, vip4); mac != nil {
		t.Errorf("the question claims the address for %s", mac)
	}
}

func TestWhoErrors(t *testing.T) {
	from := netip.MustParseAddr("10.0.0.1")
	if _, err := Open("eth7").Who(t.Context(), vip4, from, probeWait); !errors.Is(err, ErrNoInterface) {
		t.Errorf("no interface: %v", err)
	}
	for _, ips := range [][2]netip.Addr{{vip6, from}, {vip4, vip6}, {{}, from}} {
		if _, err := Open("lo").Who(t.Context(), ips[0], ips[1], probeWait); err == nil {
			t.Errorf("%v were taken", ips)
		}
	}
	if _, err := Open("lo").Who(t.Context(), vip4, from, probeWait); err == nil {
		t.Error("loopback was asked")
	}
}

func TestCanDestroySockets(t *testing.T) {
	if err := CanDestroySockets(t.Context()); err != nil {
		t.Error(err)
	}
}
