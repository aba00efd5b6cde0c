package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
)

// A reload is a restart within the process: the monitor ends, roles stay where they are, and a monitor with the new
// configuration starts from the status file and from what the agents say. A reload is allowed only where it moves no
// role.

// trialSlack is what a first round of checks may take beyond the longest timeout.
const trialSlack = 2 * time.Second

// MayBeFollowed says whether a monitor with the configuration next may take over from this one, which has the
// configuration old and goes on meanwhile. The error says why not, one reason a line. MayBeFollowed runs all checks of
// next once, as a wrong password in next must not take roles from healthy hosts, and returns their results for
// Config.Known.
func (m *Monitor) MayBeFollowed(ctx context.Context, old, next *config.Config) ([]check.Update, error) {
	if err := m.settled(old, next); err != nil {
		return nil, err
	}
	results, err := m.try(ctx, next)
	if err != nil {
		return nil, err
	}
	var worse []error
	if snap := m.snapshot.Load(); snap != nil {
		worse = snap.checkTable.worse(results)
	}
	// A role may have begun to move while the checks ran.
	return results, errors.Join(append(worse, m.settled(old, next))...)
}

// worse returns an error for each check that is ok now and would fail, or would be refused by the server, with the new
// configuration. A refusal takes no roles from the host, but the monitor would not see any more whether its server
// works.
func (c checkTable) worse(results []check.Update) []error {
	var errs []error
	for _, u := range results {
		was, known := c[checkKey{u.Host, u.Name}]
		refused := u.Result.Refusal != "" && was.result.Status == check.OK
		if known && was.verdict.Good && (!u.Verdict.Good || refused) {
			errs = append(errs, fmt.Errorf("check '%s' on '%s', which is ok, would fail: %s", u.Name, u.Host,
				u.Result.Message))
		}
	}
	return errs
}

func (m *Monitor) settled(old, next *config.Config) error {
	reasons := fixed(old, next)
	if snap := m.snapshot.Load(); snap != nil {
		reasons = append(reasons, inUse(old, next, snap.State)...)
	}
	return errors.Join(reasons...)
}

// fixed returns an error for each changed setting that only a restart can change.
func fixed(old, next *config.Config) []error {
	return config.NeedRestart(old, next,
		config.Setting{Name: "pid_path", Changed: old.Monitor.PIDPath != next.Monitor.PIDPath},
		config.Setting{Name: "status_path", Changed: old.Monitor.StatusPath != next.Monitor.StatusPath})
}

// inUse returns an error for everything in the state s that stands in the way of a reload: what moves now, what is not
// saved, and roles that their holders could not keep with the configuration next.
func inUse(old, next *config.Config, s cluster.State) []error {
	var reasons []error
	if s.Mode == cluster.Passive {
		reasons = append(reasons,
			errors.New("the monitor is in passive mode, and what it knows is not saved: first mmm_control set_active"))
	}
	addresses := map[cluster.RoleIP]bool{}
	for _, r := range next.Roles {
		for _, ip := range r.IPs {
			addresses[cluster.RoleIP{Role: r.Name, IP: ip}] = true
		}
	}
	for _, a := range s.Addresses {
		if a.Leaving != "" || a.Next != "" {
			reasons = append(reasons, fmt.Errorf("%s is on its way: reload when it has arrived", a.RoleIP))
		}
		if a.Holder != "" && !addresses[a.RoleIP] {
			reasons = append(reasons,
				fmt.Errorf("%s is gone from the configuration, and %s has it: first mmm_control set_offline %[2]s",
					a.RoleIP, a.Holder))
		}
	}
	for _, r := range next.Roles {
		for _, a := range s.Addresses {
			if r.Name == next.ActiveMasterRole && a.Role == r.Name && a.Holder != "" &&
				!slices.Contains(r.Hosts, a.Holder) {
				reasons = append(reasons,
					fmt.Errorf("host %s has role %s and is not among its hosts any more: first mmm_control move_role %[2]s HOST", a.Holder, r.Name))
			}
		}
	}
	for _, h := range old.Hosts {
		if via := s.Hosts[h.Name].Via; via != "" {
			reasons = append(reasons,
				fmt.Errorf("the agent on host %s is reached through %s only: reload when it is reached directly",
					h.Name, via))
		}
		now, ok := next.Host(h.Name)
		if len(s.RolesOf(h.Name)) > 0 && (!ok || now.IP != h.IP || now.AgentPort != h.AgentPort || now.Mode != h.Mode) {
			reasons = append(reasons,
				fmt.Errorf("host %s is gone from the configuration, or has another ip, agent_port or mode there, and it has roles: first mmm_control set_offline %[1]s", h.Name))
		}
	}
	return reasons
}

// try runs every check of a configuration once. It is an error if some give no result.
func (m *Monitor) try(ctx context.Context, next *config.Config) ([]check.Update, error) {
	checks, longest := NewChecks(next, m.cfg.Links), time.Duration(0)
	for _, s := range checks.Registry {
		longest = max(longest, s.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, trialSlack+longest)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	updates := make(chan check.Update)
	for _, t := range checks.Hosts(send(ctx, updates)) {
		group.Go(func() error { return t.Run(ctx) })
	}
	var results []check.Update
	for len(results) < len(next.Hosts)*len(checks.Registry) && ctx.Err() == nil {
		select {
		case u := <-updates:
			if !slices.ContainsFunc(results, func(r check.Update) bool {
				return r.Host == u.Host &&
					r.Name == u.Name
			}) {
				results = append(results, u)
			}
		case <-ctx.Done():
		}
	}
	late := ctx.Err()
	cancel()
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if late != nil {
		return nil, fmt.Errorf("run the checks of the new configuration: %w", late)
	}
	return results, nil
}
