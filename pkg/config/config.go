package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Program is the program that a configuration is loaded for. Each needs and reads variables of its own.
type Program int

// The programs.
const (
	Monitor Program = iota // mmm_mond
	Agent                  // mmm_agentd
	Control                // mmm_control
)

// String returns the program's name, e.g. mmm_mond.
func (p Program) String() string {
	switch p {
	case Monitor:
		return "mmm_mond"
	case Agent:
		return "mmm_agentd"
	case Control:
		return "mmm_control"
	}
	return fmt.Sprintf("Program(%d)", int(p))
}

// Blocking is how an agent stops writes (docs/concepts.md, "How a role moves").
type Blocking string

// The ways to stop writes.
const (
	Soft Blocking = "soft"
	Hard Blocking = "hard"
)

// HostMode is the part a host plays in replication.
type HostMode string

// The parts of hosts.
const (
	Master HostMode = "master"
	Slave  HostMode = "slave"
)

// MonitorMode is a mode of the monitor (docs/concepts.md, "Modes of the monitor").
type MonitorMode string

// The modes of the monitor.
const (
	ModeActive  MonitorMode = "active"
	ModeManual  MonitorMode = "manual"
	ModeWait    MonitorMode = "wait"
	ModePassive MonitorMode = "passive"
)

// Config is the configuration as one program sees it. Fields that the program does not read are zero; the tables of
// docs/configuration.md tell which program reads what. Times are durations, whatever unit the file used.
type Config struct {
	File             string // the main file, as it was found
	Warnings         Errors // what is likely not meant as it is written
	This             string // agent: name of the local host
	Debug            bool
	Log              Log
	ActiveMasterRole string // names one of Roles
	MaxKillRetries   int    // seconds for which a writer that gives its role up waits for running statements
	Blocking         Blocking
	BlockCommand     string        // never empty for the agent
	UnblockCommand   string        // never empty for the agent
	WriterLease      time.Duration // 0: classic, no lease; else from a second to a minute
	FastFailover     bool
	SwitchTimeout    time.Duration // above 0 for the monitor
	CatchUpTimeout   time.Duration // above 0 for the agent
	AgentSecret      Secret        // "": none, else at least 16 characters
	ARPRefresh       time.Duration // 0: never

	Monitor MonitorConfig
	Hosts   []Host // sorted by name; the template default is not among them
	Roles   []Role // sorted by name
	Checks  Checks
	Socket  Socket
	Hooks   []Hook  // sorted by name
	Alerts  []Alert // sorted by name
}

// Log is how monitor and agents write their logs.
type Log struct {
	JSON bool // an object a line, in place of the classic line
	Zone bool // a classic line begins with a time that has its zone (RFC 3339)
}

// MonitorConfig is the section <monitor>.
type MonitorConfig struct {
	IP                 netip.Addr // may be the unspecified address: listen on all
	Port               int
	PIDPath            string
	BinPath            string
	StatusPath         string
	PingInterval       time.Duration // above 0
	PingIPs            []netip.Addr  // at least one for the monitor
	FlapDuration       time.Duration
	FlapCount          int           // 0: flapping is not looked for
	AutoSetOnline      time.Duration // 0: only by hand
	KillHostBin        string        // relative names are resolved under BinPath/monitor
	CarefulStartup     bool
	Mode               MonitorMode
	WaitForOtherMaster time.Duration  // 0: for ever
	WriteTimeout       time.Duration  // how long a writer that can't write stays the writer; 0: for ever
	FailoverLoss       string         // any, named or none
	MetricsListen      netip.AddrPort // zero: no HTTP
	HookDir            string         // "" or absolute
}

// Host is a section <host NAME>, filled up from <host default>.
type Host struct {
	Name                string
	IP                  netip.Addr
	Mode                HostMode
	Peer                string // of a master: the other master, which names this one as its peer
	PIDPath             string
	BinPath             string
	StatePath           string
	ClusterInterface    string
	AgentPort           int
	MetricsListen       netip.AddrPort // zero: no HTTP
	MySQLPort           int
	MySQLSSLMode        string // disabled, preferred, required or verify_ca
	MySQLCA             string // certificates, PEM; where MySQLSSLMode is verify_ca
	EventScheduler      bool   // handed over with the writer role
	AgentUser           string
	AgentPassword       Secret
	MonitorUser         string
	MonitorPassword     Secret
	ReplicationUser     string
	ReplicationPassword Secret
	ReplicationChannel  string // "" is the default channel
}

// Role is a section <role NAME>.
type Role struct {
	Name      string
	Exclusive bool         // exactly one address; otherwise balanced. An agent's file may leave mode out: false
	Hosts     []string     // in the file's order, without repetitions; each one of Config.Hosts
	IPs       []netip.Addr // in the file's order, without repetitions; in no other role and no host's own
	Prefer    string       // "" or one of Hosts, exclusive roles only
}

// Check is how one check runs on every host.
type Check struct {
	Period     time.Duration // above 0
	Trap       time.Duration // how long the check must keep failing before it counts as failed
	Timeout    time.Duration // above 0
	MaxBacklog time.Duration // rep_backlog only
	Heartbeat  string        // rep_backlog only: DB.TABLE, or "" for none
}

// Checks are all checks by name, whether a file names them or not; nil for a program that does not read them.
type Checks map[string]Check

// Socket is how the programs talk to each other.
type Socket struct {
	SSL                       bool // mutual TLS; the files are set where it is true
	CertFile, KeyFile, CAFile string
}

// Host returns the host of that name.
func (c *Config) Host(name string) (Host, bool) {
	i, ok := slices.BinarySearchFunc(c.Hosts, name, func(h Host,
		name string) int {
		return strings.Compare(h.Name, name)
	})
	if !ok {
		return Host{}, false
	}
	return c.Hosts[i], true
}

// Local returns the host named by This; the zero Host for a program that does not read This.
func (c *Config) Local() Host {
	h, _ := c.Host(c.This)
	return h
}

// BlocksByCommand says whether an admin has set commands of his own for blocking_type soft.
func (c *Config) BlocksByCommand() bool {
	port := cmp.Or(c.Local().MySQLPort, 3306)
	return c.BlockCommand != blockCommand("-I", port) || c.UnblockCommand != blockCommand("-D", port)
}

func (m *model) config(file string) *Config {
	top, socket := m.unique(""), m.unique("socket")
	c := &Config{
		File:  file,
		This:  get[string](top, "this"),
		Debug: get[bool](top, "debug"),
		Log: Log{JSON: get[string](top, "log_format") == "json",
			Zone: get[string](top, "log_timestamps") == "rfc3339"},
		ActiveMasterRole: get[string](top, "active_master_role"),
		WriterLease:      get[time.Duration](top, "writer_lease"),
		AgentSecret:      get[Secret](top, "agent_secret"),
		FastFailover:     get[bool](top, "fast_failover"),
		SwitchTimeout:    get[time.Duration](top, "switch_timeout"),
		CatchUpTimeout:   get[time.Duration](top, "catch_up_timeout"),
		ARPRefresh:       get[time.Duration](top, "arp_refresh"),
		MaxKillRetries:   int(math.Ceil(get[time.Duration](top, "max_kill_retries").Seconds())),
		Blocking:         Blocking(get[string](top, "blocking_type")),
		BlockCommand:     get[string](top, "iptables_block_cmd"),
		UnblockCommand:   get[string](top, "iptables_unblock_cmd"),
		Monitor:          monitorConfig(m.unique("monitor")),
		Checks:           checks(m),
		Socket: Socket{
			SSL:      get[string](socket, "type") == "ssl",
			CertFile: get[string](socket, "cert_file"),
			KeyFile:  get[string](socket, "key_file"),
			CAFile:   get[string](socket, "ca_file"),
		},
	}
	for _, s := range m.all("host") {
		c.Hosts = append(c.Hosts, host(s))
	}
	for _, s := range m.all("role") {
		c.Roles = append(c.Roles, Role{
			Name:      s.name,
			Exclusive: get[string](s, "mode") == "exclusive",
			Hosts:     get[[]string](s, "hosts"),
			IPs:       get[[]netip.Addr](s, "ips"),
			Prefer:    get[string](s, "prefer"),
		})
	}
	if m.program == Monitor {
		for _, s := range m.all("hook") {
			c.Hooks = append(c.Hooks, hook(s))
		}
		for _, s := range m.all("alert") {
			c.Alerts = append(c.Alerts, alert(s))
		}
	}
	// The default commands must block the port that the local server really has.
	if port := c.Local().MySQLPort; port != 0 {
		if !top.vals["iptables_block_cmd"].given {
			c.BlockCommand = blockCommand("-I", port)
		}
		if !top.vals["iptables_unblock_cmd"].given {
			c.UnblockCommand = blockCommand("-D", port)
		}
	}
	return c
}

func monitorConfig(s *section) MonitorConfig {
	mc := MonitorConfig{
		IP:                 get[netip.Addr](s, "ip"),
		Port:               get[int](s, "port"),
		PIDPath:            get[string](s, "pid_path"),
		BinPath:            get[string](s, "bin_path"),
		StatusPath:         get[string](s, "status_path"),
		PingInterval:       get[time.Duration](s, "ping_interval"),
		PingIPs:            get[[]netip.Addr](s, "ping_ips"),
		FlapDuration:       get[time.Duration](s, "flap_duration"),
		FlapCount:          get[int](s, "flap_count"),
		AutoSetOnline:      get[time.Duration](s, "auto_set_online"),
		KillHostBin:        get[string](s, "kill_host_bin"),
		CarefulStartup:     get[bool](s, "careful_startup"),
		Mode:               MonitorMode(get[string](s, "mode")),
		WaitForOtherMaster: get[time.Duration](s, "wait_for_other_master"),
		WriteTimeout:       get[time.Duration](s, "write_timeout"),
		FailoverLoss:       get[string](s, "failover_loss"),
		MetricsListen:      get[netip.AddrPort](s, "metrics_listen"),
		HookDir:            get[string](s, "hook_dir"),
	}
	if mc.KillHostBin != "" && !filepath.IsAbs(mc.KillHostBin) {
		mc.KillHostBin = filepath.Join(mc.BinPath, "monitor", mc.KillHostBin)
	}
	return mc
}

func host(s *section) Host {
	return Host{
		Name:                s.name,
		IP:                  get[netip.Addr](s, "ip"),
		Mode:                HostMode(get[string](s, "mode")),
		Peer:                get[string](s, "peer"),
		PIDPath:             get[string](s, "pid_path"),
		BinPath:             get[string](s, "bin_path"),
		StatePath:           get[string](s, "state_path"),
		ClusterInterface:    get[string](s, "cluster_interface"),
		AgentPort:           get[int](s, "agent_port"),
		MetricsListen:       get[netip.AddrPort](s, "metrics_listen"),
		MySQLPort:           get[int](s, "mysql_port"),
		MySQLSSLMode:        get[string](s, "mysql_ssl_mode"),
		MySQLCA:             get[string](s, "mysql_ca_file"),
		EventScheduler:      get[bool](s, "event_scheduler"),
		AgentUser:           get[string](s, "agent_user"),
		AgentPassword:       get[Secret](s, "agent_password"),
		MonitorUser:         get[string](s, "monitor_user"),
		MonitorPassword:     get[Secret](s, "monitor_password"),
		ReplicationUser:     get[string](s, "replication_user"),
		ReplicationPassword: get[Secret](s, "replication_password"),
		ReplicationChannel:  get[string](s, "replication_channel"),
	}
}

// checks gives nil for a program that does not read checks.
func checks(m *model) Checks {
	var all Checks
	for _, name := range checkRules().names {
		k := check(m.sections[id{"check", name}])
		if k == (Check{}) {
			continue
		}
		if all == nil {
			all = Checks{}
		}
		all[name] = k
	}
	return all
}

func check(s *section) Check {
	return Check{
		Period:     get[time.Duration](s, "check_period"),
		Trap:       get[time.Duration](s, "trap_period"),
		Timeout:    get[time.Duration](s, "timeout"),
		MaxBacklog: get[time.Duration](s, "max_backlog"),
		Heartbeat:  get[string](s, "heartbeat_table"),
	}
}
