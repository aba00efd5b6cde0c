package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fits tells whether a value of this shape can be one of the rule's kind. Text always can: it is read as in classic
// files.
func (r rule) fits(s shape) error {
	switch s {
	case anyShape, textShape:
		return nil
	case listShape:
		if r.kind.list() {
			return nil
		}
		return errors.New("takes one value, not a list")
	case boolShape:
		if r.kind == boolKind {
			return nil
		}
	case numberShape:
		switch r.kind {
		case boolKind, countKind, portKind, durationKind, periodKind:
			return nil
		default:
		}
	}
	if r.kind.list() {
		return errors.New(`must be a list of texts: ["A", "B"]`)
	}
	return errors.New("must be text in quotes")
}

// secret kinds have values that are not shown.
func (k kind) secret() bool { return k == secretKind || k == secretFileKind || k == urlKind }

// list kinds have values that are lists in HCL.
func (k kind) list() bool {
	return k == namesKind || k == addrsKind || k == hostsKind || k == choicesKind
}

// elsewhere: the value is in a file that the variable names.
func (k kind) elsewhere() bool { return k == secretFileKind || k == certsFileKind }

// interpret turns the text of a variable into the Go type of its kind. The error names what is allowed.
func (r rule) interpret(text string) (any, error) {
	switch r.kind {
	case textKind, nameKind:
		return text, nil
	case secretKind:
		return Secret(text), nil
	case choiceKind:
		if slices.Contains(r.choices, text) {
			return text, nil
		}
		return nil, fmt.Errorf("must be %s, not %q%s", either(r.choices), text, hint(text, r.choices))
	case choicesKind:
		return parseChoices(text, r.choices)
	case namesKind:
		return splitList(text)
	case boolKind:
		return parseBool(text)
	case countKind:
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("must be a whole number from 0 to 2147483647, not %q", text)
		}
		return int(n), nil
	case portKind:
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("must be a port number from 1 to 65535, not %q", text)
		}
		return int(n), nil
	case durationKind:
		return parseDuration(text)
	case periodKind:
		d, err := parseDuration(text)
		if err == nil && d == 0 {
			err = fmt.Errorf("must be above zero, not %q", text)
		}
		return d, err
	case hostKind:
		return parseAddr(text)
	case addrsKind, hostsKind:
		return parseAddrs(text)
	case tableKind:
		return parseTable(text)
	case listenKind:
		return parseListen(text)
	case serverKind:
		return parseServer(text)
	case urlKind:
		return Secret(text), checkURL(text)
	case secretFileKind, certsFileKind, ignoredKind: // their values are in the file, or nowhere
	}
	panic(fmt.Sprintf("config: kind %d of variable %s has no values", r.kind, r.name))
}

// either writes "a, b or c".
func either(choices []string) string {
	last := len(choices) - 1
	if last == 0 {
		return choices[0]
	}
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "0", "no", "off", "false":
		return false, nil
	case "1", "yes", "on", "true":
		return true, nil
	}
	return false, fmt.Errorf("must be 0, no, off or false, or 1, yes, on or true; not %q", text)
}

// parseDuration reads a number, whole or not, as seconds, else Go's format.
func parseDuration(text string) (time.Duration, error) {
	withUnit := text
	if strings.Trim(text, "+-.0123456789") == "" {
		withUnit += "s"
	}
	d, err := time.ParseDuration(withUnit)
	if err != nil {
		return 0,
			fmt.Errorf("must be a number of seconds (10, 0.5) or a time with its unit (500ms, 2s, 1m, 1h; at most 292 years), not %q", text)
	}
	if d < 0 {
		return 0, fmt.Errorf("must not be below zero: %q", text)
	}
	return d, nil
}

// parseAddr gives IPv4 for an IPv4-mapped IPv6 address, so that equal addresses compare equal.
func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("must be an IP address such as 192.168.100.49, not %q", text)
	}
	return addr.Unmap(), nil
}

func parseAddrs(text string) ([]netip.Addr, error) {
	words, err := splitList(text)
	var addrs []netip.Addr
	for _, word := range words {
		addr, bad := parseAddr(word)
		switch {
		case bad != nil:
			err = errors.Join(err, bad)
		case !slices.Contains(addrs, addr):
			addrs = append(addrs, addr)
		}
	}
	return addrs, err
}

// parseTable takes names that need no quotes, and those with a dash.
func parseTable(text string) (string, error) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$-"
	db, table, _ := strings.Cut(text, ".")
	if db == "" || table == "" || strings.Trim(db, letters) != "" || strings.Trim(table, letters) != "" {
		return "", fmt.Errorf("must be DB.TABLE, of letters, digits, _, $ and -, such as percona.heartbeat, not %q",
			text)
	}
	return text, nil
}

// parseListen takes no host names: which of several addresses would be meant?
func parseListen(text string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 {
		return netip.AddrPort{},
			fmt.Errorf("must be an IP address and a port such as 127.0.0.1:9990, 0.0.0.0:9990 or [::]:9990, not %q",
				text)
	}
	return at, nil
}

// parseServer takes names too: a mail server's certificate is for its name.
func parseServer(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, blanks+"/@") {
		return "", fmt.Errorf("must be a name or an address and a port such as mail.example.com:587, not %q", text)
	}
	return text, nil
}

// checkURL shows nothing of the URL.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("must be a URL that begins with https:// (or http://) and a host")
	}
	return nil
}

func parseChoices(text string, choices []string) ([]string, error) {
	words, err := splitList(text)
	for _, word := range words {
		if !slices.Contains(choices, word) {
			err = errors.Join(err, fmt.Errorf("must be made of %s; not %q%s", either(choices), word,
				hint(word, choices)))
		}
	}
	return words, err
}

// splitList splits on commas. Like the original it overlooks a comma at the end; repetitions are dropped.
func splitList(text string) ([]string, error) {
	words := strings.Split(strings.TrimRight(text, ","+blanks), ",")
	var list []string
	for _, word := range words {
		word = strings.Trim(word, blanks)
		switch {
		case word == "" && len(words) == 1:
			return nil, errors.New("must not be an empty list")
		case word == "":
			return list, errors.New("has nothing between two commas")
		case !slices.Contains(list, word):
			list = append(list, word)
		}
	}
	return list, nil
}
