package vip

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"testing"

	"mysql-mmm/pkg/nstest"
)

// The expected bytes are written down from the RFCs, field by field.
func TestPackets(t *testing.T) {
	mac := net.HardwareAddr{0x02, 0x00, 0x5e, 0x10, 0x20, 0x30}
	for _, tc := range []struct {
		name  string
		build func(net.HardwareAddr, netip.Addr) ([][]byte, error)
		ip    netip.Addr
		want  []string
	}{
		{"gratuitous ARP", gratuitousARP, vip4, []string{
			"0001" + "0800" + "06" + "04" + "0001" + "02005e102030" + "0a000005" + "000000000000" + "0a000005",
			"0001" + "0800" + "06" + "04" + "0002" + "02005e102030" + "0a000005" + "02005e102030" + "0a000005",
		}},
		{"neighbour advertisement", unsolicitedAdvertisement, vip6, []string{
			"60000000" + "0020" + "3a" + "ff" +
				"fd000000000000000000000000000005" + "ff020000000000000000000000000001" +
				"8800" + checksum + "20000000" + "fd000000000000000000000000000005" + "0201" + "02005e102030",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			payloads, err := tc.build(mac, tc.ip)
			nstest.Must(t, err)
			var got []string
			for _, p := range payloads {
				got = append(got, hex.EncodeToString(p))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// checksum (RFC 4443 section 2.3) of the advertisement above, summed by hand:
//
//	source and target  2*(fd00+0005)       = 1fa0a
//	all nodes          ff02+0001           = 0ff03
//	length, protocol   0020+003a           = 0005a
//	type, flags        8800+2000           = 0a800
//	option             0201+0200+5e10+2030 = 08241
//	sum 423a8, folded 23ac, complement dc53
const checksum = "dc53"

func TestNoEthernetAddress(t *testing.T) {
	for _, mac := range []net.HardwareAddr{nil, make(net.HardwareAddr, 20)} {
		if broadcast(t.Context(), &net.Interface{Index: 1, HardwareAddr: mac}, vip4) == nil {
			t.Errorf("announced from hardware address %q", mac)
		}
	}
}
