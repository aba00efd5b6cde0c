package monitor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"mysql-mmm/pkg/agentclient"
	"mysql-mmm/pkg/cluster"
)

// This file is about how a monitor comes to its first state: from the checks, the status file, what the agents say, and
// the monitor that it takes over from (Config.After).

// start brings the monitor to its first state. It returns false when ctx ended before that.
func (o *owner) start(ctx context.Context) (cluster.Output, bool) {
	var silent map[string]bool
	var exposure cluster.Exposure
	if o.m.cfg.After != nil {
		o.m.cfg.Mode, silent, exposure = o.m.cfg.After.lastMode(), o.m.cfg.After.silent(), o.m.cfg.After.lastExposure()
		o.m.cfg.After = nil
	}
	o.m.await("its status file is read: %s", o.m.cfg.StatusPath)
	stored := o.load(ctx)
	vouched := o.renewStanding(stored)
	o.m.cfg.Log.Info("Waiting for network connection...")
	o.m.await(noNetwork, list(o.m.cfg.PingIPs))
	long := time.NewTimer(longWait)
	defer long.Stop()
	for !o.up {
		select {
		case <-long.C:
			o.m.cfg.Log.Warn("The monitor waits until " + fmt.Sprintf(noNetwork, list(o.m.cfg.PingIPs)))
		case up := <-o.m.network:
			o.seeNetwork(up)
		case a := <-o.m.answers:
			vouched.heard(o, a)
		case <-ctx.Done():
			return cluster.Output{}, false
		}
	}
	o.m.cfg.Log.Info("Network connection is available.")
	o.m.cfg.Log.Info("Performing initial checks...")
	for _, u := range o.m.cfg.Known {
		o.note(u)
	}
	o.m.await("every check of every host has ended once")
	for _, t := range o.m.cfg.Checks.Hosts(send(ctx, o.m.updates)) {
		o.group.Go(func() error { return t.Run(ctx) })
	}
	for !o.checkTable.complete(o.m.cfg.Checks.Registry, len(o.m.cfg.Topology.Hosts)) {
		select {
		case u := <-o.m.updates:
			o.note(u)
		case up := <-o.m.network:
			o.seeNetwork(up)
		case a := <-o.m.answers:
			vouched.heard(o, a)
		case <-ctx.Done():
			return cluster.Output{}, false
		}
	}
	if err := killable(o.m.cfg.KillBin); err != nil {
		o.m.cfg.Log.Warn(fmt.Sprintf("No binary found for killing hosts (%s).", o.m.cfg.KillBin))
	}
	for _, w := range o.m.cfg.Warnings {
		o.m.cfg.Log.Warn(w)
	}
	o.m.await("all agents have answered, or have not in time")
	found, ok := o.ask(ctx, stored, silent, vouched)
	if !ok {
		return cluster.Output{}, false
	}
	var out cluster.Output
	o.state, out = cluster.Start(o.m.cfg.Topology, o.m.cfg.Mode, stored, found, o.verdicts(), o.m.now())
	o.state.Exposure = exposure
	o.recordStep(out)
	return out, ctx.Err() == nil
}

// longWait is how long a network takes to come up after a boot, at most. A monitor that waits for longer is likely to
// have ping_ips that no machine has, and logs a warning.
const longWait = 10 * time.Second

const noNetwork = "an address of ping_ips (%s) answers a ping: until then its own network counts as down. " +
	"If none ever answers, put other addresses into ping_ips, such as that of a gateway, and restart the monitor"

// await makes known the condition that the start waits for.
func (m *Monitor) await(until string, args ...any) {
	text := fmt.Sprintf(until, args...)
	m.awaited.Store(&text)
}

// waiting is a remark about what the start waits for, for answers to commands.
func (m *Monitor) waiting() string {
	if text := m.awaited.Load(); text != nil {
		return "\n# It waits until " + *text
	}
	return ""
}

func list(ips []netip.Addr) string {
	var texts []string
	for _, ip := range ips {
		texts = append(texts, ip.String())
	}
	return strings.Join(texts, ", ")
}

// standing is the order for the writer that the saved decision names. It is sent from the very start, because checks
// and questions to agents may take longer than the writer's lease.
type standing struct{ order *cluster.Order }

// renewStanding begins to send the saved writer its order.
func (o *owner) renewStanding(stored cluster.Durable) *standing {
	order, ok := cluster.Standing(o.m.cfg.Topology, stored)
	if !ok {
		return &standing{}
	}
	o.out[order.Host] = order
	order.Extended = true
	o.m.agents[order.Host].Post(agentclient.Message{Order: &order})
	return &standing{order: &order}
}

// heard takes in an agent's answer while there is no state yet. A lease that is live is prolonged. A lease that has
// lapsed is not revived, because this monitor does not know yet whether its disk has the newest decision. Once the
// writer knows a decision that the disk lacks, its order is not sent any more.
func (s *standing) heard(o *owner, a cluster.Answer) {
	if s.order == nil || a.Host != s.order.Host || !a.Reached {
		return
	}
	if a.Epoch.Number > s.order.Epoch.Number || a.Epoch.Contradicts(s.order.Epoch) {
		delete(o.out, a.Host)
		o.m.agents[a.Host].Post(agentclient.Message{})
		s.order = nil
		return
	}
	order := *s.order
	if a.Live {
		order.Echo = a.Stamp
	}
	o.m.agents[a.Host].Post(agentclient.Message{Order: &order, Repeat: true})
}

// lastMode is the mode that the monitor was in when Run returned: an operator may have changed it.
func (m *Monitor) lastMode() cluster.Mode {
	if snap := m.snapshot.Load(); snap != nil {
		return snap.State.Mode
	}
	return m.cfg.Mode
}

// silent are the hosts whose agents did not answer when Run returned.
func (m *Monitor) silent() map[string]bool {
	hosts := map[string]bool{}
	if snap := m.snapshot.Load(); snap != nil {
		for name, h := range snap.State.Hosts {
			hosts[name] = !h.AgentUp
		}
	}
	return hosts
}

// loadTimeout is how long the start waits for the status file: a disk that hangs must not keep the monitor from its
// work.
const loadTimeout = 2 * time.Second

// load reads the status file. Where it is missing or broken, the monitor starts from what the agents and checks say.
func (o *owner) load(ctx context.Context) cluster.Durable {
	known := func(host string) bool { _, ok := o.m.cfg.Topology.Host(host); return ok }
	type result struct {
		d        cluster.Durable
		warnings []string
		err      error
	}
	read := make(chan result, 1)
	go func() {
		d, warnings, err := o.m.store.Load(known)
		read <- result{d, warnings, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	var r result
	select {
	case r = <-read:
	case <-ctx.Done():
		r.err = fmt.Errorf("read it: %w", ctx.Err())
	}
	d, warnings := r.d, r.warnings
	if err := r.err; err != nil {
		cause := ""
		if !errors.Is(err, os.ErrNotExist) {
			cause = fmt.Sprintf(" (%v)", err)
		}
		o.m.cfg.Log.Log(context.Background(), levelFatal,
			fmt.Sprintf("Couldn't open status file '%s': Starting up without status information.%s", o.m.cfg.StatusPath,
				cause))
	}
	for _, w := range warnings {
		o.m.cfg.Log.Warn(fmt.Sprintf("Status file '%s': %s", o.m.cfg.StatusPath, w))
	}
	return d
}

// ask asks all agents at once what they have. It does not ask the agents in silent, which did not answer the monitor
// before this one: a lease may end while they are waited for. It returns false when ctx ended before all have answered.
func (o *owner) ask(ctx context.Context, stored cluster.Durable, silent map[string]bool,
	vouched *standing) (map[string]cluster.Found, bool) {
	type answer struct {
		host  string
		found cluster.Found
	}
	answers := make(chan answer, len(o.m.agents))
	for name, c := range o.m.agents {
		if silent[name] {
			answers <- answer{host: name}
			continue
		}
		o.group.Go(func() error {
			answers <- answer{name, c.Found(ctx)}
			return nil
		})
	}
	found := map[string]cluster.Found{}
	for len(found) < len(o.m.agents) {
		select {
		case a := <-answers:
			if s, ok := stored.Hosts[a.host]; ok {
				a.found.Stored = &s
			}
			found[a.host] = a.found
		case a := <-o.m.answers:
			vouched.heard(o, a)
		case u := <-o.m.updates:
			o.note(u)
		case up := <-o.m.network:
			o.seeNetwork(up)
		case <-ctx.Done():
			return nil, false
		}
	}
	for _, h := range o.m.cfg.Topology.Hosts {
		if f := found[h.Name]; f.Agent == nil && f.System == nil {
			o.m.cfg.Log.Log(ctx, levelFatal, fmt.Sprintf("Can't reach agent on host '%s'", h.Name))
		}
	}
	return found, true
}
