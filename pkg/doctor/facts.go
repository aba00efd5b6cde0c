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
	Digests map[string]map[string]string // of the values in Config, made with the nonce that the agents were sent
	Version string                       // of this program

	Now     time.Time
	Local   []netip.Addr         // addresses of this machine
	PingIPs map[netip.Addr]error // nil for addresses that answered
	Status  error                // why the status file can't be written; nil: it can
	Kill    error                // why kill_host_bin can't be run; nil: it can
	TLS     TLSFacts
	Monitor MonitorFacts
	Hosts   map[string]HostFacts

	Resolved map[string][]netip.Addr // the addresses of the names of sources, as this machine resolves them
}

// TLSFacts are about <socket> type ssl on this machine.
type TLSFacts struct {
	Err     error     // why the files can't be used; nil: they can
	Expires time.Time // end of the certificate; zero: not known
	Open    bool      // everybody can read the key
}

// MonitorFacts are what the monitor's port says. Where nothing listens there all fields are zero.
type MonitorFacts struct {
	Running bool
	Err     error         // something listens on the port, and does not answer as a monitor does
	View    *cluster.View // what `show --json` says; nil: it says nothing
}

// HostFacts are what was learnt about a host.
type HostFacts struct {
	Ping   error // nil where it answers
	Server ServerFacts
	Agent  AgentFacts
}

// reached says whether the host gave a sign of life.
func (h HostFacts) reached() bool {
	return h.Ping == nil || h.Server.Port == nil || h.Agent.Err == nil
}

// ServerFacts are what a host's server says to the monitor's account.
type ServerFacts struct {
	Port  error           // why the port can't be connected to; nil: it can
	Login error           // why the account can't log in; nil: it can
	Grant string          // the GRANT statement for the privileges that the account lacks; "" for none
	Setup *mysqlctl.Setup // nil where it could not be read
	Err   error           // why Setup could not be read, or only in part; nil: it could
}

// AgentFacts are what a host's agent says.
type AgentFacts struct {
	Err     error             // why the agent could not be asked; nil: it could
	Refusal string            // what the agent said instead of an examination
	Exam    *wire.Examination // nil where the agent has sent none
	Ahead   time.Duration     // how far the host's clock is ahead of ours; negative: behind
	Unsure  time.Duration     // how far Ahead may be wrong either way
}
