package cluster

import (
	"fmt"
	"time"
)

const (
	// shortOutage: a host that was away for less than this, without a reboot, comes back by itself.
	shortOutage = 60 * time.Second
	// freshPeer: replication may fail for this long after the peer came ONLINE (master-connect-retry's default).
	freshPeer = 60 * time.Second
)

// host moves one host through the table of states (docs/concepts.md, "States of a host").
func (x *stepper) host(t Host) {
	h := x.s.Hosts[t.Name]
	switch h.State {
	case AdminOffline:
	case Online:
		x.fromOnline(t, h)
	case HardOffline:
		x.fromHardOffline(t, h)
	case AwaitingRecovery:
		x.fromAwaitingRecovery(t, h)
	case ReplicationFail, ReplicationDelay:
		x.fromReplicationTrouble(t, h)
	case Unknown: // no state that the monitor decides on
		fallthrough
	default:
		panic(fmt.Sprintf("host %s in impossible state %q", t.Name, h.State))
	}
}

// peer is the host that t replicates from: a master's configured peer, a slave's active master.
func (x *stepper) peer(t Host) (HostInfo, bool) {
	name := t.Peer
	if !t.Master {
		name = x.s.ActiveMaster(x.t)
	}
	p, ok := x.s.Hosts[name]
	return p, ok
}

func (x *stepper) fromOnline(t Host, h HostInfo) {
	if !x.alive(h) && (x.outOfReach(t.Name) || x.excused(t.Name)) {
		return
	}
	if !x.alive(h) {
		if x.unanimous(h) {
			x.out.add(Info, t.Name,
				"The server's port on host '%s' refuses, and its agent says that the process is gone: not waiting for trap_period", t.Name)
		}
		why := fmt.Sprintf(" (ping: %s, mysql: %s)", okText(h.Good.Ping), okText(h.Good.MySQL))
		x.enter(t.Name, HardOffline, why)
		if !x.s.manual() {
			x.clearRoles(t.Name)
			x.tell(t.Name)
		}
		return
	}
	if h.Audit.open() && h.Audit.Done && !x.s.manual() {
		x.enter(t.Name, AwaitingRecovery, " because it has transactions that others lack")
		x.clearRoles(t.Name)
		return
	}
	if x.writerToBe(t.Name) {
		return // whether a host may be the writer does not depend on its own replication
	}
	peer, known := x.peer(t)
	if !known || peer.State != Online || !x.alive(peer) || x.in.Now-peer.Since < freshPeer && peer.Since > 0 {
		return
	}
	switch {
	case !h.Good.RepThreads:
		x.enter(t.Name, ReplicationFail, "")
	case !h.Good.RepBacklog:
		x.enter(t.Name, ReplicationDelay, "")
	default:
		return
	}
	if !x.s.manual() {
		x.clearRoles(t.Name)
	}
}

// writerToBe: the host has the active master role or is just being given it.
func (x *stepper) writerToBe(host string) bool {
	for _, a := range x.s.Addresses {
		if a.Role == x.t.ActiveMasterRole && (a.Holder == host || a.Holder == "" && a.Next == host) {
			return true
		}
	}
	return false
}

func (x *stepper) fromHardOffline(t Host, h HostInfo) {
	if !x.alive(h) || x.inDoubt(h) {
		return
	}
	if to, bad := x.replicationTrouble(t, h); bad && !h.Audit.open() {
		x.enter(t.Name, to, "")
		return
	}
	x.enter(t.Name, AwaitingRecovery, "")
}

// replicationTrouble is the state that a host's failing replication calls for. It is judged only while the host that it
// replicates from is ONLINE, and for a candidate only while there is a writer. Else the checks say nothing about the
// host, and REPLICATION_FAIL, which ends by itself, would let in a host that has to stay in AWAITING_RECOVERY.
func (x *stepper) replicationTrouble(t Host, h HostInfo) (HostState, bool) {
	if peer, known := x.peer(t); !known || peer.State != Online || x.s.ActiveMaster(x.t) == "" && x.t.mayWrite(t.Name) {
		return "", false
	}
	switch {
	case !h.Good.RepThreads:
		return ReplicationFail, true
	case !h.Good.RepBacklog:
		return ReplicationDelay, true
	}
	return "", false
}

func (x *stepper) fromAwaitingRecovery(t Host, h HostInfo) {
	if !x.alive(h) {
		x.enter(t.Name, HardOffline, "")
		return
	}
	if h.Audit.open() || x.inDoubt(h) || x.stalls(t.Name) {
		// An operator has to decide about its log, or an agent has to look at the log first; or the other hosts are
		// still being asked whether they reach it; or its server can't write.
		return
	}
	if !h.Good.replicates() && !x.sourceDown(t) {
		return
	}
	waited := x.in.Now - h.Since
	down := h.Uptime - h.OnlineUptime
	auto := x.t.AutoSetOnline
	switch {
	case !h.Flapping && h.OnlineUptime > 0 && down >= 0 && down < shortOutage.Seconds():
		x.enter(t.Name, Online, fmt.Sprintf(" because it was down for only %d seconds", int(down)))
	case !h.Flapping && auto > 0 && waited >= auto:
		x.enter(t.Name, Online,
			fmt.Sprintf(" because of auto_set_online(%d seconds). It was in state AWAITING_RECOVERY for %d seconds",
				int(auto.Seconds()), int(waited.Seconds())))
	case h.Flapping && auto > 0 && waited >= x.t.FlapDuration:
		x.forgetFlapping(t.Name)
		x.enter(t.Name, Online,
			fmt.Sprintf(" because of auto_set_online and flap_duration(%d seconds). It was in state AWAITING_RECOVERY for %d seconds",
				int(x.t.FlapDuration.Seconds()), int(waited.Seconds())))
	}
}

func (x *stepper) fromReplicationTrouble(t Host, h HostInfo) {
	peer, known := x.peer(t)
	switch {
	case !x.alive(h) && x.excused(t.Name):
	case !x.alive(h):
		x.enter(t.Name, HardOffline, "")
	case h.Good.replicates() || !known || peer.State != Online:
		if h.Flapping || h.Audit.open() {
			x.enter(t.Name, AwaitingRecovery, "")
			return
		}
		x.enter(t.Name, Online, "")
	case h.State == ReplicationFail && h.Good.RepThreads:
		x.enter(t.Name, ReplicationDelay, "")
	case h.State == ReplicationDelay && !h.Good.RepThreads:
		x.enter(t.Name, ReplicationFail, "")
	}
}

// enter changes a host's state, says so with why, and counts departures from ONLINE.
func (x *stepper) enter(name string, to HostState, why string) {
	h := x.s.Hosts[name]
	x.out.changed(name, h.State, to, "State of host '%s' changed from %s to %s%s", name, h.State, to, why)
	from := h.State
	h.State, h.Since = to, x.in.Now
	x.moved = true
	if from == Online && x.t.FlapCount > 0 {
		recent := []time.Duration{x.in.Now}
		for _, d := range h.Departures {
			if x.in.Now-d < x.t.FlapDuration {
				recent = append(recent, d)
			}
		}
		h.Departures = recent
		if len(recent) > x.t.FlapCount && !h.Flapping {
			h.Flapping = true
			x.out.add(Fatal, name, "Host %s is flapping!", name)
		}
	}
	x.s.Hosts[name] = h
}

func (x *stepper) forgetFlapping(name string) {
	h := x.s.Hosts[name]
	h.Flapping, h.Departures = false, nil
	x.s.Hosts[name] = h
}

// clearRoles takes every address from a host. Each is free once it is proven that the host does not have it any more.
func (x *stepper) clearRoles(host string) {
	if len(x.s.RolesOf(host)) == 0 {
		return
	}
	x.out.detail(host, "Removing all roles from host '%s':", host)
	for i := range x.s.Addresses {
		if a := &x.s.Addresses[i]; a.Holder == host {
			x.out.detail(host, "    Removed role '%s' from host '%s'", a.RoleIP, host)
			x.take(a, "")
		}
	}
}

// tell notes that the host's agent must be told that it is offline; where it can't be told, kill_host is run.
func (x *stepper) tell(host string) {
	h := x.s.Hosts[host]
	h.tellSeq = x.seq
	x.s.Hosts[host] = h
}

func okText(good bool) string {
	if good {
		return "OK"
	}
	return "not OK"
}
