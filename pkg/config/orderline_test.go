package config

import (
	"fmt"
	"strings"
	"testing"
)

// An order to one host has room for a limited number of addresses. Addresses that only other hosts can have don't
// count.
func TestTooManyAddresses(t *testing.T) {
	ips := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("10.0.%d.%d", i/200, 1+i%200))
		}
		return "ips " + strings.Join(list, ", ")
	}
	for _, p := range []Program{Monitor, Agent} {
		for _, tc := range []struct {
			edit edit
			want string
		}{
			{edit{38: ips(250)}, ""},
			{edit{38: ips(400)},
				"f.conf:38: with <role reader> an order to host db1 can name 400 addresses, and be 8738 bytes long, but agents read at most 8192; " +
					"let the host have fewer addresses, or give its roles shorter names"},
			{edit{37: "hosts db1", 38: ips(200), 40: "</role>\n<role r2>\nhosts db2\nips " +
				strings.ReplaceAll(ips(200)[len("ips "):], "10.0", "10.1") + "\nmode balanced\n</role>"}, ""},
		} {
			_, errs := buildText(p, tc.edit.apply())
			if got := errs.Error(); got != tc.want {
				t.Errorf("%v: %s, want %s", p, got, tc.want)
			}
		}
	}
}
