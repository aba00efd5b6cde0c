package original

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// listen answers mmm_control, one client at a time.
func (m *Monitor) listen(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // the listener was closed
		}
		m.serve(ctx, conn)
	}
}

func (m *Monitor) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	lines := bufio.NewScanner(conn)
	for lines.Scan() && lines.Text() != "quit" {
		answer := make(chan string, 1)
		select {
		case m.ask <- command{lines.Text(), answer}:
		case <-ctx.Done():
			return
		}
		select {
		case a := <-answer:
			if _, err := fmt.Fprint(conn, a); err != nil {
				return // the client has gone
			}
		case <-ctx.Done():
			return
		}
	}
}

// execute executes one of the commands that the lab uses, and answers in the original's words.
func (m *Monitor) execute(ctx context.Context, line string) string {
	words := strings.Fields(line)
	known := func(host string) bool {
		return slices.ContainsFunc(m.Hosts, func(h Host) bool { return h.Name == host })
	}
	switch {
	case line == "show":
		return m.show()
	case len(words) == 3 && words[0] == "move_role" && words[1] == m.Writer && known(words[2]):
		return m.move(ctx, words[2])
	case len(words) == 2 && words[0] == "set_online" && known(words[1]):
		h := m.host(words[1])
		m.change(h, "ONLINE")
		m.tell(ctx, h)
		return fmt.Sprintf("OK: State of '%s' changed to ONLINE. Now you can wait some time and check its new roles!",
			h.Name)
	case len(words) == 2 && words[0] == "set_offline" && known(words[1]):
		h := m.host(words[1])
		m.change(h, "ADMIN_OFFLINE")
		m.tell(ctx, h)
		m.distribute()
		m.tellAll(ctx)
		return fmt.Sprintf("OK: State of '%s' changed to ADMIN_OFFLINE. "+
			"Now you can wait some time and check all roles!", h.Name)
	}
	return fmt.Sprintf("Invalid command '%s'\n\n", line)
}

func (m *Monitor) show() string {
	var b strings.Builder
	for _, h := range m.Hosts {
		if !m.up[h.Name] {
			fmt.Fprintf(&b, "# Warning: agent on host %s is not reachable\n", h.Name)
		}
	}
	for _, h := range m.Hosts {
		mode := "master"
		if h.Slave {
			mode = "slave"
		}
		fmt.Fprintf(&b, "  %s(%s) %s/%s. Roles: %s\n", h.Name, h.IP, mode, m.state[h.Name],
			strings.Join(m.rolesOf(h.Name), ", "))
	}
	return b.String()
}

// move gives the writer role to a host and tells the old holder, the slaves and the new holder, in this order. It says
// OK whatever they answer.
func (m *Monitor) move(ctx context.Context, to string) string {
	from := m.master()
	switch {
	case m.state[to] != "ONLINE":
		return fmt.Sprintf("ERROR: Can't move role to host with state %s.", m.state[to])
	case from == to:
		return fmt.Sprintf("OK: Role is on '%s' already. Skipping command.", to)
	}
	began := time.Now()
	m.roles[m.writerRole()] = to
	m.tellAll(ctx)
	m.Log("FATAL", fmt.Sprintf("Admin moved role '%s' from '%s' to '%s'", m.Writer, from, to))
	m.Log("DEBUG", fmt.Sprintf("The move took %v", time.Since(began)))
	return fmt.Sprintf("OK: Role '%s' has been moved from '%s' to '%s'. "+
		"Now you can wait some time and check new roles info!", m.Writer, from, to)
}
