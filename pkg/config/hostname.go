package config

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// lookUpTime bounds how long the address of a name is looked for.
const lookUpTime = 5 * time.Second

// addresses replaces the names in a value by their addresses, each with a warning: the original allowed names. One that
// stands for several is taken for the first of IPv4.
func (m *model) addresses(r rule, n node) (string, error) {
	text := n.value
	for _, name := range strings.FieldsFunc(n.value, func(c rune) bool { return c == ',' || strings.ContainsRune(blanks, c) }) {
		if !isHostName(name) {
			continue
		}
		address, err := lookUp(name)
		if err != nil {
			return "", fmt.Errorf("must be an IP address such as 192.168.100.49, and %q has none that could be looked up", name)
		}
		m.warnings.add(n.at, "'%s' names %s, which is %s now: write the address, lest this depends on a name server", r.name, name, address)
		text = strings.ReplaceAll(text, name, address)
	}
	return text, nil
}

// isHostName says whether a word may be a name and is no address (RFC 1123, section 2.1).
func isHostName(word string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	last := word[strings.LastIndex(word, ".")+1:]
	return strings.Trim(word, letters+"0123456789-.") == "" && strings.ContainsAny(last, letters)
}

func lookUp(name string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip6", name)
	}
	if err != nil {
		return "", err
	}
	return ips[0].Unmap().String(), nil
}
