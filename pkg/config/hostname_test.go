package config

import (
	"slices"
	"strings"
	"testing"
)

// TestNamesForAddresses: an ip may be given as a host name, as in the original. A warning says which address that is
// now.
func TestNamesForAddresses(t *testing.T) {
	text := strings.Replace(valid, "ip 192.168.100.52", "ip localhost", 1)
	if text == valid {
		t.Fatal("the configuration has changed")
	}
	nodes, errs := parse("f.conf", []byte(text))
	c, errs := build(Agent, "f.conf", nodes, errs, true)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	i := slices.IndexFunc(c.Hosts, func(h Host) bool { return h.Name == "db2" })
	if got := c.Hosts[i].IP.String(); got != "127.0.0.1" {
		t.Errorf("db2 is %s", got)
	}
	const want = "'ip' names localhost, which is 127.0.0.1 now: write the address, lest this depends on a name server"
	if !strings.Contains(c.Warnings.Error(), want) {
		t.Errorf("it warns of %q", c.Warnings.Error())
	}
}

func TestIsHostName(t *testing.T) {
	for word, want := range map[string]bool{
		"db3": true, "db3.example.com": true, "localhost": true, "xn--bcher-kva.example": true,
		"192.168.100.49": false, "192.168.100": false, "::1": false, "fe80::1%eth0": false,
		"10.0.0.0/8": false, "db_3 x": false, "": false,
	} {
		if got := isHostName(word); got != want {
			t.Errorf("%q: %v", word, got)
		}
	}
}

// TestReplaceNames: db10 is not taken for db1 because it begins like it.
func TestReplaceNames(t *testing.T) {
	for list, want := range map[string]string{
		"db1": "<db1>", "db1, db10,db1": "<db1>, <db10>,<db1>", "10.0.0.1, gw": "10.0.0.1, <gw>",
		"10.0.0.1,": "10.0.0.1,", "": "",
	} {
		got, err := replaceNames(list, func(name string) (string, error) { return "<" + name + ">", nil })
		if err != nil || got != want {
			t.Errorf("%q: %q, %v", list, got, err)
		}
	}
}
