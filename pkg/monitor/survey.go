package monitor

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// Surveyed is what one server said of itself.
type Surveyed struct {
	Host    string
	Channel string // replication channel that was asked for
	Survey  mysqlctl.Survey

	// Resolved are the addresses that this machine finds for the name of the server's source; nil where the source has
	// no name, or it can't be resolved.
	Resolved []netip.Addr
}

// surveyor asks one server about its settings and its replication, again and again. It has its own connection and
// goroutine, so that a server that hangs delays nobody. It reports no errors: the checks tell that a server does not
// answer.
type surveyor struct {
	host    string
	conn    Server // used by nobody else; closed by Run
	resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	period  time.Duration
	emit    func(Surveyed)
}

// Run asks at once and then once every period, until ctx ends.
func (s surveyor) Run(ctx context.Context) error {
	defer s.conn.Close()
	ticker := time.NewTicker(s.period)
	defer ticker.Stop()
	for {
		if survey, err := s.conn.Survey(ctx); err == nil {
			s.emit(Surveyed{Host: s.host, Channel: s.conn.Channel(), Survey: survey,
				Resolved: s.addresses(ctx, survey.Replica)})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// resolveTimeout is how long the lookup of a name may take.
const resolveTimeout = time.Second

// addresses looks up the addresses of the name of a source. It is no error if there are none: the source itself says
// who it is once the replica is connected to it.
func (s surveyor) addresses(ctx context.Context, r *mysqlctl.Replica) []netip.Addr {
	if r == nil {
		return nil
	}
	if _, err := netip.ParseAddr(r.SourceHost); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found, err := s.resolve(ctx, r.SourceHost)
	if err != nil {
		return nil
	}
	return found
}

// survey takes in what a server said.
func (o *owner) survey(s Surveyed) {
	o.surveys[s.Host] = s
	o.received.survey(s, o.m.now())
	o.look()
}

// look finds out what there is to warn of now, and logs what has changed. Servers that don't answer are not judged:
// what they said before is no warning any more. While the monitor's own network is down the warnings stay as they are.
func (o *owner) look() {
	if !o.up {
		return
	}
	alive := map[string]Surveyed{}
	for host, s := range o.surveys {
		if o.good[host].MySQL {
			alive[host] = s
		}
	}
	found := slices.Concat(findings(o.m.cfg.Topology, o.state, alive, o.received.servers),
		refusals(o.m.cfg.Checks.Registry, o.m.cfg.Topology, o.checkTable))
	came, gone := o.notices.update(found, o.m.now())
	for _, f := range gone {
		o.m.cfg.Log.Info("No longer: " + f.text)
		o.recordNote(cluster.Info, "No longer: "+f.text)
	}
	for _, f := range came {
		o.m.cfg.Log.Warn(f.text)
		o.recordNote(cluster.Warn, f.text)
	}
	if len(came)+len(gone) > 0 {
		o.warnings, o.remarks = o.notices.shown()
	}
}
