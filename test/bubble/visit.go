package bubble

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/monitor"
	"mysql-mmm/pkg/mysqlctl"
)

// visit is one connection of the monitor to a server, for a check or a survey. It is kept from one question to the next
// as a real one is: a server that hangs lets a question on it run out of time, and one that has died has broken it.
type visit struct {
	connection
	h       *host
	timeout time.Duration
	died    chan struct{} // channel died of the life of the server that it is open to; nil: it is not open
	greeted bool          // the newest question opened a connection, and the server greeted
}

// connect makes the connections of one life of the monitor.
func (w *World) connect(p *process) monitor.Connect {
	return func(h config.Host, timeout time.Duration, _ func() bool) monitor.Server {
		to := w.host(h.Name)
		return &visit{connection: connection{to.server, p, monitorName}, h: to, timeout: timeout}
	}
}

// resolve finds the address of a server's name (World.called).
func (w *World) resolve(_ context.Context, name string) ([]netip.Addr, error) {
	for _, h := range w.hosts {
		if w.called(h) == name {
			return []netip.Addr{h.ip}, nil
		}
	}
	return nil, errNoHost
}

// ask runs answer, with the world locked, when the server answers.
func (v *visit) ask(ctx context.Context, answer func()) error {
	w := v.h.w
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	w.mu.Lock()
	if v.died != v.s.died {
		v.died = nil
	}
	kept := v.died != nil
	w.mu.Unlock()
	v.greeted = false
	err := v.query(ctx)
	if err == nil {
		defer v.unlock()
		v.greeted, v.died = !kept, v.s.died
		answer()
		return nil
	}
	w.mu.Lock()
	v.greeted = !kept && v.s.health == stuck && v.h.answers() && w.network.both(monitorName, v.h.name)
	w.mu.Unlock()
	v.died = nil
	switch failed, ok := errors.AsType[*mysqlctl.ConnectError](err); {
	case ok && kept && mysqlctl.IsTimeout(err):
		return fmt.Errorf("ask %s: %w", failed.Addr, failed.Err)
	case ok:
		failed.Greeted = v.greeted
	}
	return err
}

func (v *visit) Ping(ctx context.Context) error { return v.ask(ctx, func() {}) }
func (v *visit) Greeted() bool                  { return v.greeted }
func (v *visit) Channel() string                { return "" }

// Close closes the connection.
func (v *visit) Close() { v.died = nil }

// Heartbeats is not called: no world has a heartbeat table.
func (v *visit) Heartbeats(context.Context, string) ([]mysqlctl.Beat, error) {
	return nil, errors.New("there is no heartbeat table")
}

// Replica is the state of replication.
func (v *visit) Replica(ctx context.Context) (r mysqlctl.Replica, err error) {
	if asked := v.ask(ctx, func() { r, err = v.s.status() }); asked != nil {
		return r, asked
	}
	return r, err
}

// Survey is what the server says of itself.
func (v *visit) Survey(ctx context.Context) (s mysqlctl.Survey, err error) {
	err = v.ask(ctx, func() { s = v.s.survey() })
	return s, err
}

// WaitBroken waits until the server has died. Where the monitor can't learn of that, it waits until ctx ends.
func (v *visit) WaitBroken(ctx context.Context) error {
	if v.died == nil {
		return nil
	}
	select {
	case <-v.died:
	case <-ctx.Done():
		return ctx.Err()
	}
	w := v.h.w
	w.mu.Lock()
	heard := v.h.answers() && w.network.both(monitorName, v.h.name)
	w.mu.Unlock()
	if !heard {
		<-ctx.Done()
		return ctx.Err()
	}
	v.died = nil
	return v.p.pass()
}

// survey is what the server says of itself. The world is locked.
func (s *server) survey() mysqlctl.Survey {
	w := s.h.w
	found := mysqlctl.Survey{Uptime: time.Since(s.started).Truncate(time.Second),
		Settings: mysqlctl.Settings{Version: "10.11", Dialect: "MariaDB", MariaDB: true, ServerID: s.id, LogBin: true,
			LogSlaveUpdates: true, GTIDMode: "ON", AutoIncrementIncrement: len(w.hosts), AutoIncrementOffset: int(s.id)}}
	if w.dialect == mysqlGTID {
		found.Settings.Version, found.Settings.Dialect, found.Settings.MariaDB = "9.7", "MySQL (REPLICA)", false
		found.Settings.UUID = s.uuid()
	}
	if w.semi {
		found.SemiSync = mysqlctl.SemiSync{Enabled: true, Waiting: true, Acks: !s.h.slave}
		for _, o := range w.hosts {
			if r := &o.server.replica; o != s.h && !o.slave && r.source == s.h.name && r.connected {
				found.SemiSync.Clients++
			}
		}
	}
	if r, err := s.status(); err == nil {
		found.Replica = &r
	}
	return found
}

// uuid is the server_uuid, which only MySQL has.
func (s *server) uuid() string {
	if s.h.w.dialect != mysqlGTID {
		return ""
	}
	return fmt.Sprintf("00000000-0000-0000-0000-%012d", s.id)
}
