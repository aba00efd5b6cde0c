package wire

import (
	"fmt"

	"mysql-mmm/pkg/cluster"
)

// AgentStatus is the answer to GET_AGENT_STATUS: what the agent was last told. After its start it is cluster.Unknown
// with no roles.
type AgentStatus struct {
	State  cluster.HostState
	Roles  []cluster.RoleIP
	Master string        // host name; "" where none
	Epoch  cluster.Epoch // newest that the agent knows; zero for an original agent
	Stamp  cluster.Stamp // the agent's clock when it answered; zero where it knows no leases
	Live   bool          // the agent holds the writer role at the moment
}

// Fields gives the status as fields of an answer.
func (s AgentStatus) Fields() []string {
	fields := []string{string(s.State), cluster.FormatRoleIPs(s.Roles, ","), s.Master}
	if s.Epoch.Number > 0 {
		fields = append(fields, extra(extEpoch, s.Epoch.String()), extra(extTerms, s.Epoch.Terms.String()))
	}
	if s.Stamp != (cluster.Stamp{}) {
		fields = append(fields, extra(extStamp, s.Stamp.String()), extra(extLive, flag(s.Live)))
	}
	return fields
}

// ParseAgentStatus reads the answer of an agent, ours or an original one. An answer that is not OK is an error with its
// text.
func ParseAgentStatus(a Answer) (AgentStatus, error) {
	fields, err := statusFields(a)
	if err != nil {
		return AgentStatus{}, fmt.Errorf("parse agent status: %w", err)
	}
	state, err := cluster.ParseHostState(fields[0])
	if err != nil {
		return AgentStatus{}, fmt.Errorf("parse agent status: %w", err)
	}
	roles, err := cluster.ParseRoleIPs(fields[1])
	if err != nil {
		return AgentStatus{}, fmt.Errorf("parse agent status: %w", err)
	}
	status := AgentStatus{State: state, Roles: roles, Master: fields[2]}
	pairs, err := parseExtras(a.Fields)
	if text := pairs.get(extEpoch); err == nil && text != "" {
		if status.Epoch, err = parseEpoch(pairs); err != nil {
			return AgentStatus{}, fmt.Errorf("parse agent status: %w", err)
		}
	}
	if stamp, err := cluster.ParseStamp(pairs.get(extStamp)); err == nil {
		status.Stamp, status.Live = stamp, pairs.get(extLive) == "1"
	}
	return status, nil
}

// SystemStatus is the answer to GET_SYSTEM_STATUS: what the host really has.
type SystemStatus struct {
	Writable bool
	Roles    []cluster.RoleIP // the configured addresses that are on the interface
	MasterIP string           // the Master_Host of its replication, as written there; "" where none
	Problem  string           // what could not be found out; "" where everything could. Only agents of ours say it
}

// Fields gives the status as fields of an answer.
func (s SystemStatus) Fields() []string {
	writable := ""
	if s.Writable {
		writable = "1"
	}
	fields := []string{writable, cluster.FormatRoleIPs(s.Roles, ","), s.MasterIP}
	if s.Problem != "" {
		fields = append(fields, extra(extProblem, s.Problem))
	}
	return fields
}

// ParseSystemStatus reads the answer of an agent, ours or an original one. An answer that is not OK is an error with
// its text.
func ParseSystemStatus(a Answer) (SystemStatus, error) {
	fields, err := statusFields(a)
	if err != nil {
		return SystemStatus{}, fmt.Errorf("parse system status: %w", err)
	}
	if fields[0] != "" && fields[0] != "0" && fields[0] != "1" {
		return SystemStatus{}, fmt.Errorf("parse system status: writable is %q", abbreviate(fields[0]))
	}
	roles, err := cluster.ParseRoleIPs(fields[1])
	if err != nil {
		return SystemStatus{}, fmt.Errorf("parse system status: %w", err)
	}
	pairs, err := parseExtras(fields[3:])
	if err != nil {
		return SystemStatus{}, fmt.Errorf("parse system status: %w", err)
	}
	return SystemStatus{
		Writable: fields[0] == "1",
		Roles:    roles,
		MasterIP: fields[2],
		Problem:  pairs.get(extProblem),
	}, nil
}

// statusFields gives the fields of a status: the three classic ones, and any after them.
func statusFields(a Answer) ([]string, error) {
	if !a.OK() {
		return nil, fmt.Errorf("the agent answers %q", abbreviate(a.Text))
	}
	if len(a.Fields) < 3 {
		return nil, fmt.Errorf("%d fields instead of 3", len(a.Fields))
	}
	return a.Fields, nil
}
