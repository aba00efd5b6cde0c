package cluster

import (
	"maps"
	"slices"
	"time"
)

// Verdicts say for each effect whether the checks of a host are good.
type Verdicts struct {
	Ping, MySQL, RepThreads, RepBacklog bool

	Mute    bool // the newest ping failed
	Asking  bool // other hosts are being asked whether they reach it
	Refused bool // the newest probe of the server found its port closed

	Lag time.Duration // how far its replication is behind, as far as that is known

	// Greeted: the newest probe of the server was let in at its port, and then got no answer.
	Greeted bool

	// Embedded: what the host has received is a part of what is known of it, and is read like the other fields.
	Reception
}

// alive: a server that answers is alive, whatever becomes of pings.
func (v Verdicts) alive() bool      { return v.MySQL }
func (v Verdicts) replicates() bool { return v.RepThreads && v.RepBacklog }

// State is all that the monitor knows and has decided. It is a value: Step returns a new one and leaves the old alone.
type State struct {
	Mode        Mode
	Cause       string        // why PASSIVE, for people; may have several lines
	ModeSince   time.Duration // monitor's clock
	NetworkUp   bool          // the monitor's own network
	NetworkBack time.Duration // when it last came back
	Seq         uint64        // number of the present set of orders
	Hosts       map[string]HostInfo
	Addresses   []Address // one for each configured address, sorted
	LastWriter  string    // host that last was given the active master role
	Switch      Switch    // how the present writer took over
	Warnings    []string  // about the servers; for people
	Exposure    Exposure  // of the writer, as the newest Step found it and told

	Epoch Epoch // the newest decision about the writer; number 0 where the writer never had a lease
	// hosts that may be appointed because time has passed: everybody who may hold the role has to ask each of them. As
	// JoinHosts joins them.
	Successors string
	Endless    bool // somebody may hold the role without a lease, which no time ends

	terms     Terms         // of the next epoch; zero: the terms stay as they are
	acked     time.Duration // when the holder was first heard to know the present epoch; 0: not yet
	shut      time.Duration // when a successor was first heard to know that nobody is the writer; 0: not yet
	unsure    time.Duration // until then decisions may have been forgotten (see confirm); 0: none were
	bootKnown bool          // it is known whether everything had just booted when the monitor started
	patience  time.Duration // until then a last writer that has not come back from a power cut keeps its role
	vouched   time.Duration // when the writer was last known to be vouched for: its lease starts no later
	unproven  []string      // hosts that may still be the writer, by a decision that this monitor does not know
	timed     bool          // one of the unproven hosts was proven not to be the writer by the end of its lease alone
	stepped   time.Duration // time of the last Step
	// since when a longer lease waits for hosts that do not take it in (stepper.unaware); 0: for none
	unaware     time.Duration
	unawareTold bool // that has been logged

	opened   string        // host that was found to be open as the writer, since it was appointed last; "" for none
	vacant   time.Duration // since when the role is kept from all who could have it, for want of data; 0: it is not
	withheld string        // hosts that lack that data, as they were last logged
}

// HostInfo is what is known of one host.
type HostInfo struct {
	State        HostState
	Since        time.Duration // when State was entered, monitor's clock; 0 = before this monitor started
	Good         Verdicts
	AgentUp      bool
	Boot         string          // id of the host's boot as its agent last said, "" where none has
	Uptime       float64         // seconds since that boot, as its agent last said
	OnlineUptime float64         // Uptime as last heard while ONLINE; 0 = never heard
	Departures   []time.Duration // when it left ONLINE, newest first, within FlapDuration
	Flapping     bool
	Problems     []string      // what its agent's newest answer says is wrong
	Stamp        Stamp         // newest moment on its agent's clock, to be echoed
	Stamped      time.Duration // when Stamp came
	Working      bool          // its agent is still at work on its order
	back         time.Duration // since when its agent answers, after it had not
	shunned      time.Duration // until then it is not made the writer: it did not take the role, or could not write
	Live         bool          // its agent says that it holds the writer role at the moment
	Candidates   string        // hosts that may be the writer by its own file, joined; "": its agent does not say
	Classic      bool          // its agent has answered, and speaks the original's protocol only
	heard        bool          // its agent has answered since this monitor started
	knows        uint64        // number of the newest epoch that its agent knows, by its newest answer
	obeyed       bool          // its agent has answered an order since this monitor started, so that Classic is known
	Backup       string        // what backs its server up at the moment; "" for nothing
	Astray       bool          // its server has executed what the writer lacks, as its agent says
	Writing      Writing       // what its agent says of its server's writing
	stallTold    bool          // it has been logged that its server can't write and that it keeps the role
	unrelieved   time.Duration // when last no host was fit to replace it as the writer; 0: never
	ServerGone   bool          // its agent says that the server's process is gone
	Via          string        // host through which its agent is reached; "" for directly
	ReachedBy    string        // another host that reaches its server at the moment
	Audit        Audit         // of its log, after it was the writer
	Embargo      Embargo       // the host that its agent replicates nothing more from
	Lack         Lack          // of the writer's log
	tellSeq      uint64        // number of the order that tells its agent that it is offline; 0 once that is answered
	killing      bool          // kill_host is running for it
	gaveUp       time.Duration // when it last gave the writer role up with a silent server; 0: that answers again
	ended        time.Duration // when its server was last known to have ended
	silent       time.Duration // since when its agent has not answered; 0 while it does
}

// Address is one virtual address: free, held by Holder, or leaving the host in Leaving. Only a free one is given out.
type Address struct {
	RoleIP           // embedded: an Address is a RoleIP, with what is known of it
	Holder    string // host that is told to have it
	Confirmed bool   // Holder's agent has said that it has it
	Leaving   string // host that had it and has not been proven without it
	Next      string // host it is meant for once free
	Forced    bool   // by an operator: Holder opens without having executed all
	Lacks     bool   // Holder lacks data that only the former writer has: it opens once that one's server answers it
	Why       string // the newest reason for which a planned move failed
	origin    string // planned move: where it goes back to if Holder can't take it
	failed    string // why taking it from Leaving failed
	gone      string // host whose agent has confirmed that it gave it up, before it was given to Holder
	killed    uint64 // number of the order for which kill_host was asked for: it is asked for once for each order
	seq       uint64 // order that gives it to Holder or takes it from Leaving
	since     time.Duration
	busy      time.Duration // when Leaving last answered that it is at work on giving it up; 0: never
	awaited   bool          // it has been logged that this takes long
	accepted  bool          // what Holder lacks has been waited for, and is given up: it opens without
	answered  bool          // the server of Leaving answered when it was told to give it up
	notBefore time.Duration // after a move that failed: no new attempt by itself before this
	journey   journey
}

func (s State) clone() State {
	s.Hosts = maps.Clone(s.Hosts)
	s.Addresses = slices.Clone(s.Addresses)
	s.unproven = slices.Clone(s.unproven)
	return s
}

// ActiveMaster is the host that is told to have the active master role, or "".
func (s State) ActiveMaster(t Topology) string {
	for _, a := range s.Addresses {
		if a.Role == t.ActiveMasterRole {
			return a.Holder
		}
	}
	return ""
}

// RolesOf lists the addresses that the host is told to have, sorted.
func (s State) RolesOf(host string) []RoleIP {
	var roles []RoleIP
	for _, a := range s.Addresses {
		if a.Holder == host {
			roles = append(roles, a.RoleIP)
		}
	}
	return roles
}

// eligible: the host may be given the role now (docs/concepts.md, "How a role moves").
func (s State) eligible(r Role, host string) bool {
	h := s.Hosts[host]
	return slices.Contains(r.Hosts, host) && h.State == Online && h.AgentUp
}

// manual: states of hosts change, but roles stay where they are.
func (s State) manual() bool { return s.Mode == Manual || s.Mode == Wait }

// Durable is the part of a state that outlives the monitor: what the status file holds.
type Durable struct {
	Hosts  map[string]StoredHost
	Switch Switch
	Writer string // LastWriter
	Epoch  Epoch

	Successors string // as in State
	Endless    bool
}

// StoredHost is what the status file says of a host.
type StoredHost struct {
	State HostState
	Roles []RoleIP
	Audit Audit // At, Waived and Past

	Classic bool    // its agent speaks the original's protocol only
	Fitness Fitness // to take over from the writer
	LackOf  string  // where Fitness is Lacking: the writer whose log the host lacks
	Boot    string  // id of the boot for which Fitness was known; "" where no agent has named it
}

// Durable extracts what must be saved before orders that follow from it are sent.
func (s State) Durable() Durable {
	d := Durable{Hosts: map[string]StoredHost{}, Switch: s.Switch, Writer: s.LastWriter, Epoch: s.Epoch,
		Successors: s.Successors, Endless: s.Endless}
	for name, h := range s.Hosts {
		d.Hosts[name] = StoredHost{State: h.State, Roles: s.RolesOf(name), Classic: h.Classic,
			Audit:   Audit{At: h.Audit.At, Waived: h.Audit.trusted(), Past: h.Audit.Past},
			Fitness: h.Lack.fitness(), LackOf: h.Lack.Of, Boot: h.Boot}
	}
	return d
}
