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

// Monitor is mmm_mond. Its decisions are those of the original in the cases that the lab makes: no flapping, no
// preferences, no passive mode.
type Monitor struct {
	Site
	Trap          time.Duration // trap_period of all checks
	AutoSetOnline time.Duration
	MaxBacklog    int
	StatusPath    string
	Connect       func(host netip.Addr) *sql.DB // as monitor_user
	Dial          func(ctx context.Context, host netip.Addr) (net.Conn, error)
	Log           func(level, text string)

	checks chan checked
	ask    chan command

	good  map[string]*verdicts
	state map[string]string
	since map[string]time.Time // when it came into its state
	up    map[string]bool      // its agent answers
	roles map[string]string    // "reader(10.77.0.101)": host, "" for nobody
}

const (
	round = 3 * time.Second
	// for so long nothing is held against those who replicate from a host that has just come
	freshPeer  = time.Minute
	agentWaits = 20 * time.Second // for an answer, which comes when the agent is done
)

// verdicts of the checks of a host: each is good unless it has failed for trap_period.
type verdicts struct {
	mysql, threads, backlog check
}

type check struct {
	bad   bool
	since time.Time // of its failures; zero: it does not fail
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

// checked is what a look at a host's server has found.
type checked struct {
	host                    string
	mysql, threads, backlog bool
	knows                   bool // the latter two
}

type command struct {
	line   string
	answer chan<- string
}

// Run is the whole daemon. It answers mmm_control on l.
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
	defer l.Close() // which ends listen
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

// begin finds out who holds what.
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
		_, _ = m.send(ctx, h, "CLEAR_BAD_ROLES") // the next order tells whether it answers
	}
	return m.save()
}

// addresses are all roles with their addresses, the writer's first.
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

// states moves each host on.
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

// distribute gives orphans to hosts, and then evens out.
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

// counts are the addresses of a role at each host that may have some.
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

// tellAll tells every host what it is to have. Who gets something hears it before the one who loses it; only the active
// master's role is taken first, and its slaves hear of it before the new one.
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

// send asks an agent on a connection of its own, and says whether it has answered: whatever it says is a success.
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
