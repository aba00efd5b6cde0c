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

// addresses replaces the host names in a value by their addresses: the original allowed names. Each name gives a
// warning. A name with several addresses stands for its first IPv4 address, or else its first IPv6 address.
func (m *model) addresses(r rule, n node) (string, error) {
	return replaceNames(n.value, func(name string) (string, error) {
		address, err := lookUp(name)
		if err != nil {
			return "",
				fmt.Errorf("must be an IP address such as 192.168.100.49, and %q has none that could be looked up",
					name)
		}
		m.warnings.add(n.at, "'%s' names %s, which is %s now: write the address, lest this depends on a name server",
			r.name, name, address)
		return address, nil
	})
}

// replaceNames replaces each host name in a list by its address; what is no name stays as it is.
func replaceNames(list string, address func(name string) (string, error)) (string, error) {
	var text strings.Builder
	for list != "" {
		end := strings.IndexAny(list, blanks+",")
		if end < 0 {
			end = len(list)
		}
		word := list[:end]
		if isHostName(word) {
			ip, err := address(word)
			if err != nil {
				return "", err
			}
			word = ip
		}
		text.WriteString(word)
		rest := min(end+1, len(list))
		text.WriteString(list[end:rest])
		list = list[rest:]
	}
	return text.String(), nil
}

// isHostName says whether a word may be a host name, and is no address (RFC 1123, section 2.1).
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
