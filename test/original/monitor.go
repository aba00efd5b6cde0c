package original

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Monitor is the original mmm_mond. It decides as that does in the cases in which the lab uses it: it knows no
// flapping, no preferred hosts and no passive mode.
type Monitor struct {
	Site
	Trap          time.Duration // trap_period of all checks
	AutoSetOnline time.Duration
	MaxBacklog    int                                                          // seconds
	StatusPath    string                                                       // the status file
	Connect       func(host netip.Addr) *sql.DB                                // connects as monitor_user
	Dial          func(ctx context.Context, host netip.Addr) (net.Conn, error) // connects to an agent
	Log           func(level, text string)

	checks chan checked
	ask    chan command

	good  map[string]*verdicts // by host, as all but the last
	state map[string]string
	since map[string]time.Time // when the host came into its state
	up    map[string]bool      // the host's agent answers
	roles map[string]string    // "reader(10.77.0.101)": the host that has it, "" for none
}

const (
	round = 3 * time.Second // between two rounds of orders
	// freshPeer is how long a host must have been in its state before replication from it is judged.
	freshPeer  = time.Minute
	agentWaits = 20 * time.Second // how long an agent's answer is waited for: it comes when the order is done
)

// verdicts are those of the checks of a host. A check is good unless it has failed for trap_period.
type verdicts struct {
	mysql, threads, backlog check
}

type check struct {
	bad   bool
	since time.Time // when it began to fail; zero: it does not fail
}

func (c *check) note(ok bool, trap time.Duration) {
	switch {
	case ok:
		*c = check{}
	case c.since.IsZero():
		c.since = time.Now()
	}
	c.bad = !ok && time.Since(c.since) >= trap
}

// checked is what one look at a host's server has found.
type checked struct {
	host                    string
	mysql, threads, backlog bool
	knows                   bool // threads and backlog are known
}

type command struct {
	line   string
	answer chan<- string
}

// Run runs the daemon until ctx ends. It answers mmm_control on l.
func (m *Monitor) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	m.checks, m.ask = make(chan checked), make(chan command)
	m.good, m.state, m.since = map[string]*verdicts{}, map[string]string{}, map[string]time.Time{}
	m.up, m.roles = map[string]bool{}, map[string]string{}
	for _, h := range m.Hosts {
		m.good[h.Name], m.up[h.Name] = &verdicts{}, true
		m.judge(m.look(ctx, h)) // at the start the first result is the verdict
	}
	if err := m.begin(ctx); err != nil {
		return err
	}
	for _, h := range m.Hosts {
		group.Go(func() { m.watch(ctx, h) })
	}
	group.Go(func() { m.listen(ctx, l) })
	defer l.Close() // so that listen ends
	ticker := time.NewTicker(round)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-m.checks:
			m.judge(c)
			continue
		case c := <-m.ask:
			c.answer <- m.execute(ctx, c.line)
			continue
		case <-ticker.C:
		}
		m.states(ctx)
		m.distribute()
		m.tellAll(ctx)
		if err := m.save(); err != nil {
			return err
		}
	}
}

func (m *Monitor) watch(ctx context.Context, h Host) {
	for ctx.Err() == nil {
		c := m.look(ctx, h)
		select {
		case m.checks <- c:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(m.Trap / 2):
		case <-ctx.Done():
		}
	}
}

func (m *Monitor) look(ctx context.Context, h Host) checked {
	c := checked{host: h.Name}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	db := m.Connect(h.IP)
	defer db.Close()
	if c.mysql = db.PingContext(ctx) == nil; !c.mysql {
		return c
	}
	r, err := replica(ctx, db)
	c.knows = err == nil
	c.threads = r["Slave_IO_Running"] == "Yes" && r["Slave_SQL_Running"] == "Yes"
	behind := 0
	if _, err := fmt.Sscan(r["Seconds_Behind_Master"], &behind); err != nil {
		behind = 0 // NULL: "Backlog is null"
	}
	c.backlog = behind <= m.MaxBacklog
	return c
}

func (m *Monitor) judge(c checked) {
	v := m.good[c.host]
	v.mysql.note(c.mysql, m.Trap)
	if c.knows { // a dead server is the mysql check's business
		v.threads.note(c.threads, m.Trap)
		v.backlog.note(c.backlog, m.Trap)
	}
}

// begin finds out which host has which role, by votes: of the status file, of the agents, and of what is on the hosts.
func (m *Monitor) begin(ctx context.Context) error {
	stored := map[string]string{}
	states := map[string]string{}
	text, err := os.ReadFile(m.StatusPath)
	if errors.Is(err, fs.ErrNotExist) {
		m.Log("FATAL", "Couldn't open status file '"+m.StatusPath+"': Starting up without status information.")
	} else if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 3 || !slices.ContainsFunc(m.Hosts, func(h Host) bool { return h.Name == f[0] }) {
			m.Log("WARN", "Ignoring saved status: "+line)
			continue
		}
		states[f[0]] = f[1]
		for _, r := range split(f[2]) {
			stored[r] = f[0]
		}
	}
	votes := map[string]map[string]int{}
	vote := func(role, host string, n int) {
		if votes[role] == nil {
			votes[role] = map[string]int{}
		}
		votes[role][host] += n
	}
	writer := m.writerRole()
	for role, host := range stored {
		vote(role, host, 1)
	}
	for _, h := range m.Hosts {
		m.since[h.Name] = time.Now()
		if m.state[h.Name] = states[h.Name]; m.state[h.Name] == "" || m.state[h.Name] == "AWAITING_RECOVERY" {
			m.state[h.Name] = "AWAITING_RECOVERY"
		}
		agent, _ := m.send(ctx, h, "GET_AGENT_STATUS")
		if f := strings.Split(agent, "|"); len(f) >= 3 {
			for _, r := range split(f[2]) {
				vote(r, h.Name, 1)
			}
		}
		system, _ := m.send(ctx, h, "GET_SYSTEM_STATUS")
		f := strings.Split(system, "|")
		if len(f) < 4 {
			continue
		}
		if f[1] == "1" {
			vote(writer, h.Name, 4)
		}
		for _, r := range split(f[2]) {
			vote(r, h.Name, 2)
		}
		for _, other := range m.Hosts {
			if h.Slave && other.IP.String() == f[3] {
				vote(writer, other.Name, 1)
			}
		}
	}
	for _, role := range m.addresses() {
		m.roles[role] = ""
		best := 0
		for _, h := range m.Hosts {
			if n := votes[role][h.Name]; n > best && m.state[h.Name] != "ADMIN_OFFLINE" && m.may(role, h.Name) {
				m.roles[role], best = h.Name, n
			}
		}
	}
	if w := m.roles[writer]; w != "" && !m.good[w].mysql.bad {
		m.state[w] = "ONLINE"
	}
	m.Log("INFO", "Monitor started in active mode.")
	m.tellAll(ctx)
	for _, h := range m.Hosts {
		_, _ = m.send(ctx, h, "CLEAR_BAD_ROLES") // the next order tells whether the agent answers
	}
	return m.save()
}

// addresses are all roles with an address each, as on the wire, the writer role first.
func (m *Monitor) addresses() []string {
	var list []string
	for _, r := range m.Roles {
		for _, ip := range r.IPs {
			list = append(list, name(r.Name, ip))
		}
	}
	slices.SortStableFunc(list, func(a, b string) int {
		switch {
		case m.writes(a) == m.writes(b):
			return strings.Compare(a, b)
		case m.writes(a):
			return -1
		}
		return 1
	})
	return list
}

func (m *Monitor) writerRole() string { return m.addresses()[0] }

func (m *Monitor) role(role string) Role {
	word, _, _ := strings.Cut(role, "(")
	return m.Roles[slices.IndexFunc(m.Roles, func(r Role) bool { return r.Name == word })]
}

func (m *Monitor) may(role, host string) bool { return slices.Contains(m.role(role).Hosts, host) }

func (m *Monitor) master() string { return m.roles[m.writerRole()] }

// states changes the states of the hosts by the verdicts of their checks.
func (m *Monitor) states(ctx context.Context) {
	for _, h := range m.Hosts {
		v, now := m.good[h.Name], m.state[h.Name]
		peer := h.Peer
		if h.Slave {
			peer = m.master()
		}
		peerGood := peer != "" && m.state[peer] == "ONLINE" && !m.good[peer].mysql.bad
		broken := ""
		if v.threads.bad {
			broken = "REPLICATION_FAIL"
		} else if v.backlog.bad {
			broken = "REPLICATION_DELAY"
		}
		next := now
		switch now {
		case "ADMIN_OFFLINE":
		case "HARD_OFFLINE":
			switch {
			case v.mysql.bad:
			case broken != "" && m.master() != "":
				next = broken
			default:
				next = "AWAITING_RECOVERY"
			}
		case "AWAITING_RECOVERY":
			switch {
			case v.mysql.bad:
				next = "HARD_OFFLINE"
			case broken == "" && m.AutoSetOnline > 0 && time.Since(m.since[h.Name]) >= m.AutoSetOnline:
				next = "ONLINE"
			}
		case "REPLICATION_FAIL", "REPLICATION_DELAY":
			switch {
			case v.mysql.bad:
				next = "HARD_OFFLINE"
			case broken == "" || !peerGood:
				next = "ONLINE"
			default:
				next = broken
			}
		default:
			switch {
			case v.mysql.bad:
				next = "HARD_OFFLINE"
			case broken != "" && h.Name != m.master() && peerGood && time.Since(m.since[peer]) >= freshPeer:
				next = broken
			}
		}
		if next == now {
			continue
		}
		m.Log("FATAL", fmt.Sprintf("State of host '%s' changed from %s to %s", h.Name, now, next))
		m.change(h, next)
		if now == "ONLINE" && next == "HARD_OFFLINE" && !m.tell(ctx, h) {
			m.Log("ERROR", fmt.Sprintf("Can't send offline status notification to '%s' - killing it!", h.Name))
			m.Log("FATAL", fmt.Sprintf("Could not kill host '%s' - there may be duplicate ips now! "+
				"(There's no binary configured for killing hosts.)", h.Name))
		}
	}
}

// change puts a host into a state. A host that is not ONLINE loses its roles.
func (m *Monitor) change(h Host, state string) {
	m.state[h.Name], m.since[h.Name] = state, time.Now()
	if state == "ONLINE" {
		return
	}
	for role, holder := range m.roles {
		if holder == h.Name {
			m.roles[role] = ""
		}
	}
}

// distribute gives roles that no host has to hosts, and then spreads the addresses of balanced roles evenly.
func (m *Monitor) distribute() {
	for _, role := range m.addresses() {
		if m.roles[role] == "" {
			m.roles[role] = m.fewest(role)
		}
	}
	for _, r := range m.Roles {
		if r.Exclusive {
			continue
		}
		for {
			counts := m.counts(r)
			if len(counts) == 0 {
				break
			}
			hosts := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
				if counts[a] != counts[b] {
					return counts[a] - counts[b]
				}
				return strings.Compare(a, b)
			})
			least, most := hosts[0], hosts[len(hosts)-1]
			if counts[most]-counts[least] < 2 {
				break
			}
			for _, ip := range r.IPs {
				if m.roles[name(r.Name, ip)] == most {
					m.roles[name(r.Name, ip)] = least
					break
				}
			}
		}
	}
}

// counts tells how many addresses of a role each host has that may have some.
func (m *Monitor) counts(r Role) map[string]int {
	counts := map[string]int{}
	for _, h := range r.Hosts {
		if m.state[h] == "ONLINE" && m.up[h] {
			counts[h] = 0
		}
	}
	for _, ip := range r.IPs {
		if holder := m.roles[name(r.Name, ip)]; holder != "" {
			if _, may := counts[holder]; may {
				counts[holder]++
			}
		}
	}
	return counts
}

// fewest is the host that may have a role and has the fewest roles; "": none may.
func (m *Monitor) fewest(role string) string {
	best, fewest := "", 0
	counts := m.counts(m.role(role))
	for _, h := range slices.Sorted(maps.Keys(counts)) {
		n := 0
		for _, holder := range m.roles {
			if holder == h {
				n++
			}
		}
		if best == "" || n < fewest {
			best, fewest = h, n
		}
	}
	return best
}

// tellAll tells every host which roles it has: the masters first, then the slaves, and the active master last. So the
// writer role is taken from the old host before the new one gets it, but a reader address may be on two hosts for a
// moment.
func (m *Monitor) tellAll(ctx context.Context) {
	hosts := slices.Clone(m.Hosts)
	rank := func(h Host) int {
		switch {
		case h.Name == m.master():
			return 2
		case h.Slave:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(hosts, func(a, b Host) int { return rank(a) - rank(b) })
	for _, h := range hosts {
		m.tell(ctx, h)
	}
}

func (m *Monitor) tell(ctx context.Context, h Host) bool {
	_, ok := m.send(ctx, h, "SET_STATUS", m.state[h.Name], strings.Join(m.rolesOf(h.Name), ","), m.master())
	switch {
	case !ok && m.up[h.Name]:
		m.Log("FATAL", fmt.Sprintf("Can't reach agent on host '%s'", h.Name))
	case ok && !m.up[h.Name]:
		m.Log("FATAL", fmt.Sprintf("Agent on host '%s' is reachable again", h.Name))
	}
	m.up[h.Name] = ok
	return ok
}

// send sends an agent a request on a new connection. ok says whether the agent has answered: as in the original any
// answer counts as success, also an error.
func (m *Monitor) send(ctx context.Context, h Host, words ...string) (answer string, ok bool) {
	conn, err := m.Dial(ctx, h.IP)
	if err != nil {
		return "", false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(agentWaits)); err != nil {
		return "", false
	}
	line := strings.Join(slices.Concat([]string{words[0], "1", h.Name}, words[1:]), "|")
	if _, err := fmt.Fprintf(conn, "%s\n", line); err != nil {
		return "", false
	}
	text, err := bufio.NewReader(conn).ReadString('\n')
	answer, _, _ = strings.Cut(strings.TrimSpace(text), "|UP:")
	return answer, err == nil
}

func (m *Monitor) save() error {
	var b strings.Builder
	for _, h := range m.Hosts {
		fmt.Fprintf(&b, "%s|%s|%s\n", h.Name, m.state[h.Name], strings.Join(m.rolesOf(h.Name), ","))
	}
	return os.WriteFile(m.StatusPath, []byte(b.String()), 0o644)
}

func (m *Monitor) rolesOf(host string) []string {
	var roles []string
	for role, holder := range m.roles {
		if holder == host {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return roles
}
