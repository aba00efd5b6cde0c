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

// Machine is the host that an agent works on.
type Machine interface {
	Addresses() ([]netip.Addr, error) // on its interface, without its own
	SetAddress(ip netip.Addr, on bool) error
	Announce(ip netip.Addr) error
	Block(on bool) error // refuses new connections to the server, as iptables_block_cmd does
}

// Agent is mmm_agentd on one host. It has no goroutine of its own: Serve is all that it does.
type Agent struct {
	Site
	Name    string
	Retries int    // max_kill_retries: how many seconds clients may have to go
	Watcher string // user that looks at the servers for a test, and is none of their clients
	Machine Machine
	Connect func(host netip.Addr) *sql.DB // as agent_user; each is closed after use
	Log     func(level, text string)

	mu            sync.Mutex // one order at a time
	began         time.Time
	state, master string
	roles         []string // "reader(10.77.0.101)", sorted
}

// checkPeriod is how often an agent that hears nothing looks whether it has what it was given.
const checkPeriod = 3 * time.Second

// Serve takes connections, one after the other, until ctx ends. Its addresses stay where they are.
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

// hear answers line by line, for as long as the client stays.
func (a *Agent) hear(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		answer := a.Handle(ctx, lines.Text())
		if _, err := fmt.Fprintf(conn, "%s|UP:%.2f\n", answer, time.Since(a.began).Seconds()+1000); err != nil {
			return // nobody waits for it any more
		}
	}
}

// Handle executes a request and returns the answer, without what every answer ends with.
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
	param := func(i int) string { // those beyond what it knows are ignored
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
			master = a.master // it is tried again
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

// replicate stops replication where the host becomes ADMIN_OFFLINE, and starts it afterwards.
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

func (a *Agent) complain(err error) {
	if err != nil {
		a.Log("FATAL", err.Error())
	}
}

func (a *Agent) host() Host { return a.Site.host(a.Name) }

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
			a.Log("FATAL", fmt.Sprintf("Couldn't sync with master: %v", err)) // and goes on
		}
		if err := a.allowWrites(ctx); err != nil {
			a.Log("FATAL", fmt.Sprintf("Couldn't allow writes: %v", err))
			return
		}
	}
	a.hold(role)
}

func (a *Agent) hold(role string) {
	have, err := a.Machine.Addresses()
	a.complain(err)
	if ip := address(role); !slices.Contains(have, ip) {
		a.complain(a.Machine.SetAddress(ip, true))
		a.complain(a.Machine.Announce(ip))
	}
}

// check mends what its roles have lost.
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

// configured are the roles of all the files whose address is on the interface.
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
