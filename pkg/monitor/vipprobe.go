package monitor

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/pkg/check"
)

// vipProbePeriod is the time from one ping of the addresses of the roles to the next.
const vipProbePeriod = 5 * time.Second

// vipProbe pings the addresses of the roles. An address that does not answer, while its host does, is announced again
// by the agent of that host: a switch, a gateway or a neighbour may think that the address is elsewhere.
type vipProbe struct {
	monitor *Monitor
	echo    check.Echoer
	missing map[netip.Addr]bool // addresses that the log says don't answer
}

// Run pings all addresses every vipProbePeriod until ctx ends.
func (v *vipProbe) Run(ctx context.Context) error {
	ticker := time.NewTicker(vipProbePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			v.look(ctx)
		}
	}
}

// look pings all addresses at once.
func (v *vipProbe) look(ctx context.Context) {
	s := v.monitor.snapshot.Load()
	if s == nil {
		return
	}
	type found struct {
		ip        netip.Addr
		missing   bool
		announced error
	}
	results := make(chan found, len(s.State.Addresses))
	var group errgroup.Group
	asked := map[netip.Addr]string{}
	for _, a := range s.State.Addresses {
		h := s.State.Hosts[a.Holder]
		if a.Holder == "" || !a.Confirmed || !h.AgentUp || !h.Good.Ping {
			delete(v.missing, a.IP)
			continue
		}
		asked[a.IP] = a.Holder
		group.Go(func() error {
			missing := v.echo.Ping(ctx, a.IP) != nil
			missing = missing && v.echo.Ping(ctx, a.IP) != nil // one answer of two is enough
			f := found{ip: a.IP, missing: missing}
			if f.missing && ctx.Err() == nil {
				f.announced = v.monitor.agents[a.Holder].Announce(ctx, a.IP)
			}
			results <- f
			return nil
		})
	}
	_ = group.Wait() // the functions above return no errors
	for range asked {
		f := <-results
		if ctx.Err() != nil {
			return
		}
		switch {
		case f.missing && !v.missing[f.ip]:
			text := "it is announced again"
			if f.announced != nil {
				text = "it can't be announced again: " + f.announced.Error()
			}
			v.monitor.cfg.Log.Warn(fmt.Sprintf("Address %s does not answer here, though host '%s' has it and answers: %s", f.ip, asked[f.ip], text))
		case !f.missing && v.missing[f.ip]:
			v.monitor.cfg.Log.Info(fmt.Sprintf("Address %s of host '%s' answers again", f.ip, asked[f.ip]))
		}
		v.missing[f.ip] = f.missing
	}
}
