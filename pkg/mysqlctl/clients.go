package mysqlctl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// process is a line of SHOW PROCESSLIST. Of the statement only the digest is kept, as a statement may hold data.
type process struct {
	id        uint64
	user      string
	host      string // ADDRESS:PORT, or a name
	command   string
	state     string
	seconds   string
	statement string // its digest; "" where it runs none
}

func (p process) String() string {
	text := fmt.Sprintf("%d (%s, %s for %s s: %s)", p.id, p.user, p.command, p.seconds, p.state)
	if p.statement != "" {
		text += " " + p.statement
	}
	return text
}

// since returns for how many seconds the connection has been in its state.
func (p process) since() int {
	n, _ := strconv.Atoi(p.seconds) // a text that is no number counts as 0
	return n
}

// inTheWay lists the connections of clients that run a statement, or were killed and still roll one back. The likeliest
// cause of the wait comes first: statements that write before those that only read, and in each kind the longest first.
func inTheWay(list []process, own map[uint64]bool) []process {
	var busy []process
	for _, p := range list {
		if f := p.fate(); !own[p.id] && (f == works || f == ends) {
			busy = append(busy, p)
		}
	}
	slices.SortStableFunc(busy, func(a, b process) int {
		switch {
		case a.reads() == b.reads():
			return cmp.Compare(b.since(), a.since())
		case b.reads():
			return -1
		}
		return 1
	})
	return busy
}

// reads: by its first word the statement only reads.
func (p process) reads() bool {
	first, _, _ := strings.Cut(p.statement, " ")
	return slices.Contains([]string{"SELECT", "SHOW", "EXPLAIN", "DESCRIBE"}, strings.ToUpper(first))
}

// fate is what may be done to a connection.
type fate uint8

const (
	spare fate = iota // not a client
	idle              // waits for its client: nothing of value is lost
	works             // runs a statement
	ends              // has been killed
)

// fate sorts by user and command as the servers write them ("Thread Command Values" of the MySQL and MariaDB manuals).
func (p process) fate() fate {
	switch p.user {
	case "system user", "event_scheduler", "unauthenticated user":
		return spare
	}
	switch p.command {
	case "Sleep":
		return idle
	case "Killed":
		return ends
	case "Daemon", "Binlog Dump", "Binlog Dump GTID", "Group Replication":
		return spare
	}
	if strings.HasPrefix(p.command, "Slave_") || strings.HasPrefix(p.command, "Replica") {
		return spare
	}
	return works
}

// sortOut tells which connections to kill, and which run a statement and still have their grace. own are spared.
func sortOut(list []process, own map[uint64]bool, graceOver bool) (kill []uint64, left []process) {
	for _, p := range list {
		f := p.fate()
		switch {
		case own[p.id] || f == spare:
		case f == idle, f == works && graceOver:
			kill = append(kill, p.id)
		case f == works:
			left = append(left, p)
		}
	}
	return kill, left
}

// EndClients ends the connections of the clients that are connected when it is called, and returns how many it has
// killed. Idle connections are killed at once, others get the grace to become idle. Never ended: this Server's own
// connections, replication in both directions, the event scheduler and other threads of the server itself
// (docs/concepts.md, "How a role moves"). Without a deadline it ends Timeout after the grace. Where a privilege is
// missing to kill a connection, all others are ended, and then that error is returned.
func (s *Server) EndClients(ctx context.Context, grace time.Duration) (killed int, err error) {
	ctx, cancel := bounded(ctx, grace+s.cfg.Timeout)
	defer cancel()

	// Clients that connect later find a server that is closed for writes. Ending them too might never end, as clients
	// reconnect.
	present := make(map[uint64]bool)
	graceEnds := time.Now().Add(grace)
	var denied error
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		list, err := s.listProcesses(ctx)
		if err != nil {
			return killed, err
		}
		if len(present) == 0 {
			for _, p := range list {
				present[p.id] = true
			}
		}
		var mine []process
		for _, p := range list {
			if present[p.id] {
				mine = append(mine, p)
			}
		}
		kill, left := sortOut(mine, s.owns(), !time.Now().Before(graceEnds))
		n, err := s.killAll(ctx, kill)
		killed += n
		if err != nil && !IsMissingPrivilege(err) {
			return killed, err
		}
		denied = cmp.Or(denied, err)
		if len(left) == 0 {
			return killed, denied
		}
		select {
		case <-ctx.Done():
			return killed, fmt.Errorf("end clients of %s: %d still run, such as %s: %w", s.cfg.Addr, len(left), left[0],
				ctx.Err())
		case <-time.After(min(pause, max(time.Until(graceEnds), 0))):
		}
	}
}

// listProcesses fails where the user lacks PROCESS: the server would list the user's own connections only.
func (s *Server) listProcesses(ctx context.Context) ([]process, error) {
	if _, err := s.ask(ctx, flavour.proveProcess); IsMissingPrivilege(err) {
		return nil, err
	}
	rows, err := s.ask(ctx, flavour.showProcesses)
	if err != nil {
		return nil, err
	}
	list := make([]process, len(rows))
	for i, r := range rows {
		id, err := strconv.ParseUint(r["Id"], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read connection list of %s: %w", s.cfg.Addr, err)
		}
		list[i] = process{id: id, user: r["User"], host: r["Host"], command: r["Command"], state: r["State"],
			seconds: r["Time"], statement: digest(r["Info"])}
	}
	return list, nil
}

// killAll goes on after an error and returns the first one: a connection that can't be killed must not save the others.
func (s *Server) killAll(ctx context.Context, ids []uint64) (killed int, err error) {
	for _, id := range ids {
		_, e := s.ask(ctx, func(f flavour) statement { return f.kill(id) })
		switch {
		case e == nil:
			killed++
		case isServerError(e, errNoSuchThread):
		default:
			err = cmp.Or(err, e)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return killed, err
}
