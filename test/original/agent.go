package original

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Machine is what an agent does to the host on which it runs.
type Machine interface {
	Addresses() ([]netip.Addr, error)        // those on its interface, without the host's own
	SetAddress(ip netip.Addr, on bool) error // adds an address to the interface, or removes it
	Announce(ip netip.Addr) error            // tells the neighbours by ARP that this host has an address
	Block(on bool) error                     // refuses new connections to the server (iptables_block_cmd), or ends that
}

// Agent is the original mmm_agentd of one host. It has no goroutine of its own: Serve does everything.
type Agent struct {
	Site
	Name    string
	Retries int    // max_kill_retries: how many seconds clients have to disconnect before they are killed
	Watcher string // user with which a test looks at servers: it does not count as a client
	Machine Machine
	Connect func(host netip.Addr) *sql.DB // connects as agent_user; the agent closes it after use
	Log     func(level, text string)

	mu            sync.Mutex // held while an order or a check runs
	began         time.Time
	state, master string
	roles         []string // "reader(10.77.0.101)", sorted
}

// checkPeriod is how often an agent to which nobody connects checks that its host has what its roles need.
const checkPeriod = 3 * time.Second

// Serve answers connections, one after the other, until ctx ends. The addresses stay on the host then.
func (a *Agent) Serve(ctx context.Context, l *net.TCPListener) error {
	a.began, a.state = time.Now(), "UNKNOWN"
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for ctx.Err() == nil {
		if err := l.SetDeadline(time.Now().Add(checkPeriod)); err != nil {
			return err
		}
		conn, err := l.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			a.check(ctx)
			continue
		}
		if err != nil {
			return err
		}
		a.hear(ctx, conn)
		a.check(ctx)
	}
	return ctx.Err()
}

// hear answers the lines of one connection until the client closes it.
func (a *Agent) hear(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		answer := a.Handle(ctx, lines.Text())
		if _, err := fmt.Fprintf(conn, "%s|UP:%.2f\n", answer, time.Since(a.began).Seconds()+1000); err != nil {
			return // the client has gone
		}
	}
}

// Handle executes a request and returns the answer, without the uptime with which each answer ends on the wire.
func (a *Agent) Handle(ctx context.Context, line string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	fields := strings.Split(line, "|")
	if len(fields) < 3 {
		return fmt.Sprintf("ERROR: Invalid command '%s'!", line)
	}
	if fields[2] != a.Name {
		return fmt.Sprintf("ERROR: Invalid hostname in command (%s)! My name is '%s'", fields[2], a.Name)
	}
	param := func(i int) string { // further parameters, as our monitor sends them, are ignored
		if i < len(fields) {
			return fields[i]
		}
		return ""
	}
	switch fields[0] {
	case "PING":
		return "OK: Pinged!"
	case "SET_STATUS":
		return a.setStatus(ctx, param(3), split(param(4)), param(5))
	case "GET_AGENT_STATUS":
		return "OK: Returning status!|" + a.state + "|" + strings.Join(a.roles, ",") + "|" + a.master
	case "GET_SYSTEM_STATUS":
		return a.system(ctx)
	case "CLEAR_BAD_ROLES":
		return a.clear()
	}
	return fmt.Sprintf("ERROR: Invalid command '%s'!", fields[0])
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	all := strings.Split(list, ",")
	slices.Sort(all)
	return all
}

func (a *Agent) setStatus(ctx context.Context, state string, roles []string, master string) string {
	if a.host().Slave && state == "ONLINE" && master != "" && master != a.master {
		a.Log("INFO", fmt.Sprintf("Changing active master to '%s'", master))
		if err := a.follow(ctx, master); err != nil {
			a.Log("FATAL", fmt.Sprintf("Failed to change master to '%s': %v", master, err))
			master = a.master // so that the next order tries again
		}
	}
	a.master = master
	var deleted, added []string
	for _, r := range a.roles {
		if !slices.Contains(roles, r) {
			deleted = append(deleted, r)
		}
	}
	for _, r := range roles {
		if !slices.Contains(a.roles, r) {
			added = append(added, r)
		}
	}
	if len(deleted)+len(added) > 0 {
		a.Log("INFO", "We have some new roles added or old rules deleted!")
	}
	if len(deleted) > 0 {
		a.Log("INFO", "Deleted: "+strings.Join(deleted, ", "))
	}
	if len(added) > 0 {
		a.Log("INFO", "Added:   "+strings.Join(added, ", "))
	}
	for _, r := range deleted {
		a.remove(ctx, r)
	}
	a.roles = roles
	for _, r := range added {
		a.add(ctx, r)
	}
	if state != a.state {
		a.replicate(ctx, a.state, state)
	}
	a.state = state
	return "OK: Status applied successfully!"
}

// replicate stops replication when the host becomes ADMIN_OFFLINE, and starts it when that ends.
func (a *Agent) replicate(ctx context.Context, from, to string) {
	statement := "START SLAVE"
	switch {
	case to == "ADMIN_OFFLINE":
		statement = "STOP SLAVE"
	case from != "ADMIN_OFFLINE":
		return
	}
	a.complain(a.with(a.host().IP, func(db *sql.DB) error { return run(ctx, db, statement) }))
}

// complain logs an error; the agent goes on all the same.
func (a *Agent) complain(err error) {
	if err != nil {
		a.Log("FATAL", err.Error())
	}
}

func (a *Agent) host() Host { return a.Site.host(a.Name) }

// with connects to the server of a host, calls f, and closes the connection.
func (a *Agent) with(host netip.Addr, f func(db *sql.DB) error) error {
	db := a.Connect(host)
	defer db.Close()
	return f(db)
}

func (a *Agent) remove(ctx context.Context, role string) {
	if a.writes(role) {
		a.complain(a.denyWrites(ctx))
	}
	have, err := a.Machine.Addresses()
	a.complain(err)
	if ip := address(role); slices.Contains(have, ip) {
		a.complain(a.Machine.SetAddress(ip, false))
	}
}

func (a *Agent) add(ctx context.Context, role string) {
	if a.writes(role) {
		if err := a.catchUp(ctx); err != nil {
			a.Log("FATAL", fmt.Sprintf("Couldn't sync with master: %v", err)) // and opens the server all the same
		}
		if err := a.allowWrites(ctx); err != nil {
			a.Log("FATAL", fmt.Sprintf("Couldn't allow writes: %v", err))
			return
		}
	}
	a.hold(role)
}

// hold adds the address of a role to the interface and announces it, unless the address is there.
func (a *Agent) hold(role string) {
	have, err := a.Machine.Addresses()
	a.complain(err)
	if ip := address(role); !slices.Contains(have, ip) {
		a.complain(a.Machine.SetAddress(ip, true))
		a.complain(a.Machine.Announce(ip))
	}
}

// check opens the server where the host has the writer role, and adds addresses of its roles that are missing.
func (a *Agent) check(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.roles {
		if a.writes(r) {
			a.complain(a.allowWrites(ctx))
		}
		a.hold(r)
	}
}

// system answers GET_SYSTEM_STATUS: whether the server is open for writes, the roles whose addresses are on the
// interface, and the source of replication.
func (a *Agent) system(ctx context.Context) string {
	writable, source := "", ""
	a.complain(a.with(a.host().IP, func(db *sql.DB) error {
		variable, err := row(ctx, db, "SHOW GLOBAL VARIABLES LIKE 'read_only'")
		if err == nil && variable["Value"] == "OFF" {
			writable = "1"
		}
		from, err2 := replica(ctx, db)
		source = from["Master_Host"]
		return errors.Join(err, err2)
	}))
	return "OK: Returning status!|" + writable + "|" + strings.Join(a.configured(), ",") + "|" + source
}

// configured are all roles of the configuration whose address is on the interface, whoever put it there.
func (a *Agent) configured() []string {
	have, err := a.Machine.Addresses()
	a.complain(err)
	var list []string
	for _, r := range a.Roles {
		for _, ip := range r.IPs {
			if slices.Contains(have, ip) {
				list = append(list, name(r.Name, ip))
			}
		}
	}
	slices.Sort(list)
	return list
}

// clear answers CLEAR_BAD_ROLES: it removes the addresses of roles that this host was not given.
func (a *Agent) clear() string {
	n := 0
	for _, r := range a.configured() {
		if !slices.Contains(a.roles, r) {
			a.complain(a.Machine.SetAddress(address(r), false))
			n++
		}
	}
	return fmt.Sprintf("OK: Removed %d roles", n)
}
