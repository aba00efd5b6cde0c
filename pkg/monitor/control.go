package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
)

// moveTimeout is how long move_role waits for the move to end before it answers that the role is still on its way.
const moveTimeout = 30 * time.Second

// Handle answers one line of mmm_control (mmm_control(1)). It is safe for concurrent use: commands that only ask are
// answered from the newest snapshot, commands that change something go through the owner.
func (m *Monitor) Handle(ctx context.Context, line string) string {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") ||
		strings.HasSuffix(line, "\r") {
		return cluster.Invalid(line)
	}
	snap := m.snapshot.Load()
	name, args := words[0], words[1:]
	switch {
	case name == "help" && len(args) == 0:
		return cluster.Help
	case name == "ping" && len(args) == 0:
		return "OK: Pinged successfully!"
	case snap == nil:
		return "ERROR: The monitor is starting. Please, wait some time." + m.waiting()
	}
	asJSON := slices.Contains(args, "--json")
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--json" })
	switch {
	case name == "mode" && len(args) == 0:
		if asJSON {
			return document(map[string]cluster.Mode{"mode": snap.State.Mode})
		}
		return string(snap.State.Mode)
	case name == "show" && len(args) == 0:
		if asJSON {
			return document(cluster.MakeView(m.cfg.Topology, snap.State))
		}
		return cluster.Show(m.cfg.Topology, snap.State)
	case name == "checks" && len(args) <= 2:
		return m.checks(snap, args, asJSON)
	case name == "history" && len(args) <= 1:
		return showHistory(snap, args, asJSON)
	case name == "explain" && len(args) == 1:
		return m.explain(snap, args[0], asJSON)
	case asJSON:
		return cluster.Invalid(line)
	}
	return m.change(ctx, words)
}

func document(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Sprintf("ERROR: %v", err)
	}
	return string(text)
}

func (m *Monitor) checks(snap *Snapshot, args []string, asJSON bool) string {
	host, name := "all", "all"
	if len(args) > 0 {
		host = args[0]
	}
	if len(args) > 1 {
		name = args[1]
	}
	if name != "all" && !m.cfg.Checks.Registry.Has(check.Name(name)) {
		return fmt.Sprintf("ERROR: Unknown check '%s'!", name)
	}
	if _, known := m.cfg.Topology.Host(host); host != "all" && !known {
		return fmt.Sprintf("ERROR: Unknown host name '%s'!", host)
	}
	if asJSON {
		return document(snap.checkTable.lines(m.cfg.Checks.Registry, m.cfg.Topology, snap.remarks, host, name))
	}
	return snap.checkTable.text(m.cfg.Checks.Registry, m.cfg.Topology, snap.remarks, host, name)
}

// change runs a command that may change something. The agents of the hosts that the command names are pinged before it
// goes to the owner, so that the owner waits for none of them.
func (m *Monitor) change(ctx context.Context, words []string) string {
	if no := m.objection(ctx, words); no != "" {
		return "ERROR: " + no
	}
	c := command{asked: m.prepare(ctx, words), reply: make(chan cluster.Output, 1)}
	select {
	case m.commands <- c:
	case <-ctx.Done():
		return "ERROR: The monitor is ending."
	}
	select {
	case out := <-c.reply:
		if out.Move != nil {
			return m.awaitMove(ctx, *out.Move)
		}
		return out.Answer
	case <-ctx.Done():
		return "ERROR: The monitor is ending."
	}
}

// prepare makes a command of words. It notes which agents of the hosts in words answer now, and for move_role how far
// the replication of these hosts is behind.
func (m *Monitor) prepare(ctx context.Context, words []string) cluster.Command {
	c := cluster.Command{Words: words, AgentUp: map[string]bool{}, Behind: map[string]time.Duration{}}
	if name := words[0]; strings.HasPrefix(name, "set_o") || name == "move_role" {
		for _, w := range words[1:] {
			if agent, ok := m.agents[w]; ok {
				c.AgentUp[w] = agent.Ping(ctx)
				if name == "move_role" && m.cfg.Behind != nil {
					c.Behind[w] = m.cfg.Behind(ctx, w)
				}
			}
		}
	}
	return c
}

// awaitMove answers once the role has arrived where it was to go, or is somewhere else for good, or after moveTimeout.
func (m *Monitor) awaitMove(ctx context.Context, move cluster.Move) string {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	for {
		snap := m.snapshot.Load()
		if answer, decided := move.Outcome(snap.State); decided {
			return answer
		}
		select {
		case <-snap.changed:
		case <-ctx.Done():
			return fmt.Sprintf("ERROR: Role '%s' is still on its way to '%s'. See 'mmm_control show' and the monitor's log.", move.Role, move.To)
		}
	}
}
