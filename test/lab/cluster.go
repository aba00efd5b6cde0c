package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/test/servers"
)

// The lab's addresses.
const (
	WriterIP = "10.77.0.100"
	monIP    = "10.77.0.10"
	clientIP = "10.77.0.20"
)

// Options say which cluster New makes.
type Options struct {
	Bin           string        // folder with the three programs
	Server        string        // kind of database server (package servers); "": the MariaDB that is installed
	CheckPeriod   time.Duration // 0: 250 ms
	TrapPeriod    time.Duration // 0: 500 ms
	AutoSetOnline int           // seconds
	MaxBacklog    int           // seconds; 0: the default of 60
	Slaves        int           // beside the two masters; 0: 1
	Candidates    int           // hosts that may be the writer, from db1 on; 0: 2, the masters
	Position      bool          // replicate by file and position instead of GTID
	Async         bool          // no semi-synchronous replication
	AckTimeout    time.Duration // of semi-synchronous replication; 0: 250 ms
	AckAlways     bool          // a writer waits for AckTimeout also while no replica that acknowledges is connected
	Common        string        // more lines of mmm_common.conf
	Mon           string        // more lines for <monitor>
	WriterPrefer  string        // the preferred host of the writer role; "": none
	Lease         int           // seconds of writer_lease; 0: 2, so that tests don't wait; -1: none
	FastFailover  bool
	// Gateway puts the client's host into ping_ips, instead of the database hosts: the monitor pings it to learn
	// whether its own network works.
	Gateway      bool
	Clocks       bool   // the agents have clocks of their own that the lab can set forward
	Disk         bool   // the data of db1 is on a Disk of its own, which can be made to hang
	StatusDir    string // folder of the monitor's status file; "": where the other files are
	Retries      int    // max_kill_retries; 0: the default of 10
	SecondClient bool   // there is another host for clients
}

// lease is writer_lease, in seconds.
func (o Options) lease() int {
	if o.Lease == 0 {
		return 2
	}
	return max(o.Lease, 0)
}

// Cluster is two masters in a ring, slaves, a monitor and a client.
type Cluster struct {
	Options
	Mon, Client *Host
	Second      *Host   // nil where there is no second client
	DBs         []*Node // db1 and db2 are the masters
	Monitor     *Daemon
	dir         string
	others      []*Node // servers that are no part of the cluster, see Outsider
}

// Node is a database host.
type Node struct {
	*Host
	Server *Server
	Agent  *Daemon
	Disk   *Disk // of its own; nil: the server's data is on the lab's tmpfs
}

// New makes hosts, servers and configurations, and starts the servers and replication. No daemon runs yet. Everything
// ends with the lab's first process, or by Close.
func New(ctx context.Context, o Options) (*Cluster, error) {
	if o.CheckPeriod == 0 {
		o.CheckPeriod = 250 * time.Millisecond
	}
	if o.TrapPeriod == 0 {
		o.TrapPeriod = 500 * time.Millisecond
	}
	if o.Slaves == 0 {
		o.Slaves = 1
	}
	if o.Candidates == 0 {
		o.Candidates = 2
	}
	for _, p := range []string{"mmm_mond", "mmm_agentd", "mmm_control"} {
		if _, err := os.Stat(filepath.Join(o.Bin, p)); err != nil {
			return nil, fmt.Errorf("%w: build the programs first (make build)", err)
		}
	}
	kind, err := servers.Find(o.Server)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Options: o, dir: root}
	if err := makeBridge(); err != nil {
		return nil, err
	}
	if c.Mon, err = newHost("mon", netip.MustParseAddr(monIP)); err != nil {
		return nil, err
	}
	if c.Client, err = newHost("client", netip.MustParseAddr(clientIP)); err != nil {
		return nil, err
	}
	if o.SecondClient {
		if c.Second, err = newHost("second", netip.MustParseAddr("10.77.0.21")); err != nil {
			return nil, err
		}
	}
	for i := 1; i <= 2+o.Slaves; i++ {
		h, err := newHost(fmt.Sprintf("db%d", i), netip.MustParseAddr(fmt.Sprintf("10.77.0.%d", 10+i)))
		if err != nil {
			return nil, err
		}
		var disk *Disk
		if o.Disk && i == 1 {
			if disk, err = newDisk(filepath.Join(root, h.Name, "data")); err != nil {
				return nil, err
			}
		}
		s, err := newServer(ctx, h, kind, i, !o.Position)
		if err != nil {
			return nil, err
		}
		s.async, s.ackTimeout, s.ackAlways = o.Async, o.AckTimeout, o.AckAlways
		c.DBs = append(c.DBs, &Node{Host: h, Server: s, Disk: disk})
	}
	if err := c.startServers(ctx); err != nil {
		return nil, err
	}
	return c, c.configure()
}

// Close kills and removes all that belongs to the cluster, so that the lab can have another one.
func (c *Cluster) Close() error {
	var errs []error
	daemons := []*Daemon{c.Monitor}
	for _, n := range c.DBs {
		daemons = append(daemons, n.Agent)
	}
	for _, d := range daemons {
		if d != nil && d.proc != nil && !d.proc.Ended() {
			errs = append(errs, d.Kill())
		}
	}
	hosts := []*Host{c.Mon, c.Client}
	if c.Second != nil {
		hosts = append(hosts, c.Second)
	}
	for _, n := range slices.Concat(c.DBs, c.others) {
		hosts = append(hosts, n.Host)
		if n.Server == nil {
			continue
		}
		if n.Disk != nil {
			errs = append(errs, n.Disk.GoOn())
		}
		if n.Server.proc != nil && !n.Server.proc.Ended() {
			errs = append(errs, n.Server.Kill())
		}
		_ = n.Server.db.Close() // its connections broke with the server
		if n.Disk != nil {
			errs = append(errs, n.Disk.remove())
		}
		errs = append(errs, os.RemoveAll(n.Server.dir))
		states, err := filepath.Glob(filepath.Join(c.dir, n.Name, "mmm_agentd.state*"))
		errs = append(errs, err)
		for _, f := range states {
			errs = append(errs, os.Remove(f))
		}
	}
	for _, h := range hosts {
		errs = append(errs, h.remove())
	}
	files, err := filepath.Glob(filepath.Join(c.dir, "mmm_*"))
	errs = append(errs, err)
	for _, f := range files {
		errs = append(errs, os.Remove(f))
	}
	return errors.Join(append(errs, removeBridge())...)
}

func (c *Cluster) startServers(ctx context.Context) error {
	group, ctx2 := errgroup.WithContext(ctx)
	for _, n := range c.DBs {
		group.Go(func() error {
			if err := n.Server.Start(ctx2); err != nil {
				return err
			}
			return n.Server.Exec(ctx2, slices.Concat([]string{"SET sql_log_bin=0"}, grants(n.Server.kind),
				[]string{"SET sql_log_bin=1"})...)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	db := c.DBs
	if err := db[0].Server.Follow(ctx, db[1].Host, ""); err != nil {
		return err
	}
	if err := db[1].Server.Follow(ctx, db[0].Host, ""); err != nil {
		return err
	}
	for _, slave := range db[2:] {
		if err := slave.Server.Follow(ctx, db[0].Host, ""); err != nil {
			return err
		}
	}
	return db[0].Server.Exec(ctx, schema...)
}

// schema makes the application's database and tables.
var schema = []string{"CREATE DATABASE app",
	"CREATE TABLE app.t (id BIGINT PRIMARY KEY, server INT NOT NULL, at DOUBLE NOT NULL) ENGINE=InnoDB",
	"CREATE TABLE app.lists (id BIGINT PRIMARY KEY, list MEDIUMTEXT NOT NULL) ENGINE=InnoDB"}

// grants make the accounts of MMM, of replication and of the application, each with only the privileges that it needs.
func grants(k servers.Kind) []string {
	return []string{
		"CREATE USER repl@'10.77.0.%' IDENTIFIED BY 'replpw'",
		"GRANT REPLICATION SLAVE ON *.* TO repl@'10.77.0.%'",
		"CREATE USER mmm_monitor@'10.77.0.%' IDENTIFIED BY 'monpw'",
		"GRANT " + k.MonitorRights() + " ON *.* TO mmm_monitor@'10.77.0.%'",
		"CREATE USER mmm_agent@'10.77.0.%' IDENTIFIED BY 'agentpw'",
		"GRANT " + k.AgentRights() + " ON *.* TO mmm_agent@'10.77.0.%'",
		"CREATE USER app@'10.77.0.%' IDENTIFIED BY 'apppw'",
		"GRANT ALL ON app.* TO app@'10.77.0.%'",
	}
}

// configure writes the files as a user of MMM would.
func (c *Cluster) configure() error {
	var b strings.Builder
	fmt.Fprintf(&b, "writer_lease %d\nfast_failover %d\n", c.lease(), map[bool]int{true: 1}[c.FastFailover])
	if c.Retries > 0 {
		fmt.Fprintf(&b, "max_kill_retries %d\n", c.Retries)
	}
	fmt.Fprintf(&b,
		"active_master_role writer\n%s\n<host default>\n cluster_interface eth0\n pid_path %s/none.pid\n bin_path /usr/libexec/mysql-mmm/\n"+
			" replication_user repl\n replication_password replpw\n agent_user mmm_agent\n agent_password agentpw\n</host>\n", c.Common, c.dir)
	var names, ips, readers []string
	for i, n := range c.DBs {
		names, ips, readers = append(names, n.Name), append(ips, n.IP.String()),
			append(readers, fmt.Sprintf("10.77.0.%d", 101+i))
		mode := "mode slave"
		if i < 2 {
			mode = fmt.Sprintf("mode master\n peer db%d", 2-i)
		}
		fmt.Fprintf(&b, "<host %s>\n ip %s\n %s\n state_path %s\n</host>\n", n.Name, n.IP, mode,
			filepath.Join(c.dir, n.Name, "mmm_agentd.state"))
	}
	prefer := ""
	if c.WriterPrefer != "" {
		prefer = " prefer " + c.WriterPrefer + "\n"
	}
	fmt.Fprintf(&b, "<role writer>\n hosts %s\n ips %s\n mode exclusive\n%s</role>\n",
		strings.Join(names[:c.Candidates], ", "), WriterIP, prefer)
	fmt.Fprintf(&b, "<role reader>\n hosts %s\n ips %s\n mode balanced\n</role>\n", strings.Join(names, ", "),
		strings.Join(readers, ", "))
	if err := os.WriteFile(filepath.Join(c.dir, "mmm_common.conf"), []byte(b.String()), 0o640); err != nil {
		return err
	}
	status := c.StatusDir
	if status == "" {
		status = c.dir
	}
	checks := ""
	for _, k := range []string{"ping", "mysql", "rep_threads", "rep_backlog"} {
		backlog := ""
		if k == "rep_backlog" && c.MaxBacklog > 0 {
			backlog = fmt.Sprintf(" max_backlog %d\n", c.MaxBacklog)
		}
		checks += fmt.Sprintf("<check %s>\n check_period %g\n trap_period %g\n timeout 2\n%s</check>\n", k,
			c.CheckPeriod.Seconds(), c.TrapPeriod.Seconds(), backlog)
	}
	pinged := strings.Join(ips, ", ")
	if c.Gateway {
		pinged = clientIP
	}
	mon := fmt.Sprintf("include mmm_common.conf\n<monitor>\n ip 127.0.0.1\n pid_path %s/mmm_mond.pid\n bin_path /usr/libexec/mysql-mmm\n status_path %s/mmm_mond.status\n"+
		" ping_ips %s\n auto_set_online %d\n kill_host_bin %s/kill_host\n%s\n</monitor>\n<host default>\n monitor_user mmm_monitor\n monitor_password monpw\n</host>\n%s",
		c.dir, status, pinged, c.AutoSetOnline, c.dir, c.Options.Mon, checks)
	if err := os.WriteFile(filepath.Join(c.dir, "mmm_mon.conf"), []byte(mon), 0o640); err != nil {
		return err
	}
	for _, n := range c.DBs {
		path := filepath.Join(c.dir, n.Name, "mmm_agent.conf")
		if err := os.WriteFile(path, []byte("include ../mmm_common.conf\nthis "+n.Name+"\n"), 0o640); err != nil {
			return err
		}
		n.Agent = &Daemon{host: n.Host, program: filepath.Join(c.Bin, "mmm_agentd"), config: path,
			dir: filepath.Join(c.dir, n.Name)}
		if c.Clocks {
			n.Agent.clock = &Clock{}
		}
	}
	c.Monitor = &Daemon{host: c.Mon, program: filepath.Join(c.Bin, "mmm_mond"),
		config: filepath.Join(c.dir, "mmm_mon.conf"), dir: c.dir}
	return nil
}

// StartAll starts agents and monitor, and waits until the cluster is whole (see WaitWhole).
func (c *Cluster) StartAll(ctx context.Context) error {
	for _, n := range c.DBs {
		if err := n.Agent.Start(); err != nil {
			return err
		}
	}
	if err := c.Monitor.Start(); err != nil {
		return err
	}
	return c.WaitWhole(ctx)
}

// WaitWhole waits until all hosts are ONLINE, there is a writer, each host has a reader address, all addresses are
// where `show` says, and `show` warns of nothing.
func (c *Cluster) WaitWhole(ctx context.Context) error {
	return Wait(ctx, "the cluster to be whole", func() (bool, string) {
		show, _, err := c.Control(ctx, "show")
		return err == nil && c.whole(show), show + fmt.Sprint(err, c.Placed(show))
	})
}

// whole says whether a `show`, and the interfaces, are those of a whole cluster.
func (c *Cluster) whole(show string) bool {
	return strings.Count(show, "/ONLINE. Roles:") == len(c.DBs) && strings.Count(show, "reader(") == len(c.DBs) &&
		!c.warned(show) &&
		c.Writer(show) != nil && c.Placed(show) == nil
}

// warned says whether a `show` has a warning, other than that there is no lease where the options want none.
func (c *Cluster) warned(show string) bool {
	for line := range strings.Lines(show) {
		if strings.HasPrefix(line, "#") && !(c.lease() == 0 && strings.Contains(line, "writer_lease is 0")) {
			return true
		}
	}
	return false
}

// Control runs mmm_control on the monitor's host. An exit status other than 0 is no error.
func (c *Cluster) Control(ctx context.Context, args ...string) (stdout string, status int, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, "mmm_control"),
		append([]string{"--config", filepath.Join(c.dir, "mmm_mon.conf")}, args...)...)
	var out []byte
	err = c.Mon.Do(func() (err error) {
		out, err = cmd.Output()
		return err
	})
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode(), nil
	}
	return string(out), 0, err
}

// Writer is the host that has the writer role by a `show`, or nil.
func (c *Cluster) Writer(show string) *Node {
	for line := range strings.Lines(show) {
		if strings.Contains(line, "writer("+WriterIP+")") && !strings.HasPrefix(line, "#") {
			name, _, _ := strings.Cut(strings.TrimSpace(line), "(")
			return c.Node(name)
		}
	}
	return nil
}

// theWriter is the host that has the writer role now. It is an error where no host has it.
func (c *Cluster) theWriter(ctx context.Context) (*Node, error) {
	show, _, err := c.Control(ctx, "show")
	if err != nil {
		return nil, err
	}
	if w := c.Writer(show); w != nil {
		return w, nil
	}
	return nil, fmt.Errorf("nobody is the writer:\n%s", show)
}

// Node finds a database host by name; nil: there is none of that name.
func (c *Cluster) Node(name string) *Node {
	i := slices.IndexFunc(c.DBs, func(n *Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return c.DBs[i]
}

// Placed compares the addresses in a `show` with those on the interfaces. A difference is an error.
func (c *Cluster) Placed(show string) error {
	for _, n := range c.DBs {
		have, err := n.Addresses()
		if err != nil {
			return err
		}
		said := 0
		for line := range strings.Lines(show) {
			if strings.HasPrefix(strings.TrimSpace(line), n.Name+"(") {
				_, roles, _ := strings.Cut(line, "Roles:")
				said = strings.Count(roles, "(")
				for _, ip := range have {
					if !strings.Contains(roles, "("+ip.String()+")") {
						return fmt.Errorf("%s has %s, show says%s", n.Name, ip, roles)
					}
				}
			}
		}
		if said != len(have) {
			return fmt.Errorf("show gives %s %d addresses, its interface has %v", n.Name, said, have)
		}
	}
	return nil
}

// WaitLevel waits until the load's table app.t has the same checksum on all given servers.
func (c *Cluster) WaitLevel(ctx context.Context, nodes ...*Node) error {
	return Wait(ctx, "the servers to be level", func() (bool, string) {
		var sums []string
		for _, n := range nodes {
			var name, sum string
			if err := n.Server.db.QueryRowContext(ctx, "CHECKSUM TABLE app.t").Scan(&name, &sum); err != nil {
				return false, err.Error()
			}
			sums = append(sums, sum)
		}
		return len(slices.Compact(slices.Clone(sums))) == 1, strings.Join(sums, ", ")
	})
}
