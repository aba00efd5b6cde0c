package doctor

import (
	"net/netip"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// Facts are what was learnt about a cluster.
type Facts struct {
	Config  *config.Config
	Digests map[string]map[string]string // of Config, with the nonce that the agents were given
	Version string                       // of this program

	Now     time.Time
	Local   []netip.Addr         // addresses of this machine
	PingIPs map[netip.Addr]error // nil for those that answered
	Status  error                // why the status file can't be written
	Kill    error                // why kill_host_bin can't be run
	TLS     TLSFacts
	Monitor MonitorFacts
	Hosts   map[string]HostFacts

	Resolved map[string][]netip.Addr // what the names of sources stand for, here
}

// TLSFacts are about <socket> type ssl on this machine.
type TLSFacts struct {
	Err     error // the files can't be used
	Expires time.Time
	Open    bool // the key can be read by others
}

// MonitorFacts are what the monitor's port says.
type MonitorFacts struct {
	Running bool
	Err     error         // something is there, and does not answer as a monitor
	View    *cluster.View // nil where it could not be had
}

// HostFacts are what was learnt about a host.
type HostFacts struct {
	Ping   error // nil where it answers
	Server ServerFacts
	Agent  AgentFacts
}

// reached says that the host gave a sign of life.
func (h HostFacts) reached() bool {
	return h.Ping == nil || h.Server.Port == nil || h.Agent.Err == nil
}

// ServerFacts are what its server says to the monitor's account.
type ServerFacts struct {
	Port  error           // the port does not answer
	Login error           // the account can't be used
	Grant string          // privileges that it lacks
	Setup *mysqlctl.Setup // nil where it could not be read
	Err   error           // why
}

// AgentFacts are what its agent says.
type AgentFacts struct {
	Err     error             // it could not be asked
	Refusal string            // what it said instead of an examination
	Exam    *wire.Examination // nil without one
	Ahead   time.Duration     // its clock, as compared with ours
	Unsure  time.Duration     // how far Ahead may be wrong either way
}
