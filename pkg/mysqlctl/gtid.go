package mysqlctl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Applied returns, as GTIDs, the transactions of other servers that this server has executed, for the Lacks and Lost of
// another Server; "" where the server has no GTIDs that tell. On MariaDB it is gtid_slave_pos. On MySQL it is
// gtid_executed without the server's own transactions, which it keeps whomever it follows. On a MySQL server with
// several sources it is what the channel of the Config has received (Retrieved_Gtid_Set, which a server may forget):
// a source of this channel need not have what came from other sources.
func (s *Server) Applied(ctx context.Context) (string, error) {
	v, err := s.variables(ctx, "gtid_slave_pos", "gtid_mode", "gtid_executed", "server_uuid")
	if err != nil {
		return "", err
	}
	if pos, maria := v["gtid_slave_pos"]; maria {
		return pos, nil
	}
	if v["gtid_mode"] != "ON" {
		return "", nil
	}
	channels, err := s.ask(ctx, func(f flavour) statement { return f.showReplica("") })
	if err != nil {
		return "", err
	}
	set := v["gtid_executed"]
	if len(channels) > 1 {
		set = ""
		for _, c := range channels {
			if c["Channel_Name"] == s.cfg.Channel {
				set = c["Retrieved_Gtid_Set"]
			}
		}
	}
	return withoutUUID(set, v["server_uuid"]), nil
}

// withoutUUID returns the set, such as "UUID:1-5:7, UUID:TAG:1-3", without the transactions of one server.
func withoutUUID(set, uuid string) string {
	return choose(set, func(by string) bool { return !strings.EqualFold(by, uuid) })
}

// ofUUID returns only the transactions of one server in the set.
func ofUUID(set, uuid string) string {
	return choose(set, func(by string) bool { return strings.EqualFold(by, uuid) })
}

func choose(set string, want func(uuid string) bool) string {
	var chosen []string
	for _, part := range strings.Split(strings.ReplaceAll(set, "\n", ""), ",") {
		part = strings.TrimSpace(part)
		if by, _, _ := strings.Cut(part, ":"); part != "" && want(by) {
			chosen = append(chosen, part)
		}
	}
	return strings.Join(chosen, ",")
}

// Lacks returns which transactions in another server's Applied this server does not have; "" where it has them all. A
// slave that has executed transactions which this server lacks can't replicate from this server.
func (s *Server) Lacks(ctx context.Context, applied string) (string, error) {
	rows, err := s.ask(ctx, func(f flavour) statement { return f.subtractGTIDs(applied) })
	if err != nil {
		return "", err
	}
	if len(rows) == 1 {
		if missing, ok := rows[0]["missing"]; ok {
			return strings.ReplaceAll(missing, "\n", ""), nil
		}
	}
	v := pairs(rows)
	missing, err := lacking(applied, v["gtid_binlog_state"], v["gtid_slave_pos"])
	if err != nil {
		return "", fmt.Errorf("compare GTIDs with those of %s: %w", s.cfg.Addr, err)
	}
	return missing, nil
}

// Lost returns which transactions in another server's Applied were committed on this server, and are not in its binary
// log: that log was begun anew. "" where there are none.
func (s *Server) Lost(ctx context.Context, applied string) (string, error) {
	v, err := s.variables(ctx, "server_id", "server_uuid", "gtid_binlog_state", "gtid_slave_pos")
	if err != nil {
		return "", err
	}
	uuid := v["server_uuid"]
	if _, maria := v["gtid_slave_pos"]; !maria {
		return s.Lacks(ctx, ofUUID(applied, uuid))
	}
	want, err := parseGTIDs(applied)
	if err != nil {
		return "", err
	}
	has, err := parseGTIDs(v["gtid_binlog_state"] + "," + v["gtid_slave_pos"])
	if err != nil {
		return "", err
	}
	var lost []string
	for _, w := range want {
		found := slices.ContainsFunc(has, func(h gtid) bool {
			return h.domain == w.domain && h.server == w.server &&
				h.number >= w.number
		})
		if strconv.FormatUint(uint64(w.server), 10) == v["server_id"] && !found {
			lost = append(lost, w.String())
		}
	}
	return strings.Join(lost, ","), nil
}

// gtid is one of MariaDB. Within a domain the numbers of one server count up, and usually those of all servers do.
type gtid struct {
	domain, server uint32
	number         uint64
}

func (g gtid) String() string { return fmt.Sprintf("%d-%d-%d", g.domain, g.server, g.number) }

func parseGTIDs(list string) ([]gtid, error) {
	var all []gtid
	for _, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		parts := strings.Split(text, "-")
		if len(parts) != 3 {
			return nil, fmt.Errorf("read GTID %q: want DOMAIN-SERVER-NUMBER", text)
		}
		domain, domainErr := strconv.ParseUint(parts[0], 10, 32)
		server, serverErr := strconv.ParseUint(parts[1], 10, 32)
		number, err := strconv.ParseUint(parts[2], 10, 64)
		if err := cmp.Or(domainErr, serverErr, err); err != nil {
			return nil, fmt.Errorf("read GTID %q: %w", text, err)
		}
		all = append(all, gtid{uint32(domain), uint32(server), number})
	}
	return all, nil
}

// lacking lists which GTIDs in a slave's place (applied) a MariaDB server does not have, by that server's
// gtid_binlog_state (the last transaction of each server in each domain) and gtid_slave_pos. It judges as the server
// does when a slave connects ("Global Transaction ID" in the MariaDB manual). A domain in which the server has nothing
// is left out: it belongs to another source. In a domain in which it has nothing of the server_id of a GTID, that
// server_id's transactions may have been in a log file that was purged: then the highest number in the domain decides.
func lacking(applied, binlogState, slavePos string) (string, error) {
	want, err := parseGTIDs(applied)
	if err != nil {
		return "", err
	}
	has, err := parseGTIDs(binlogState + "," + slavePos)
	if err != nil {
		return "", err
	}
	var missing []string
	for _, w := range want {
		var domain, server bool
		var highest, last uint64
		for _, h := range has {
			if h.domain != w.domain {
				continue
			}
			domain, highest = true, max(highest, h.number)
			if h.server == w.server {
				server, last = true, max(last, h.number)
			}
		}
		if !server {
			last = highest
		}
		if domain && last < w.number {
			missing = append(missing, w.String())
		}
	}
	return strings.Join(missing, ","), nil
}
