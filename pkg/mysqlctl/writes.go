package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Writable tells whether the server takes writes of ordinary users: neither read_only nor super_read_only.
func (s *Server) Writable(ctx context.Context) (bool, error) {
	v, err := s.variables(ctx, "read_only", "super_read_only")
	if err != nil {
		return false, err
	}
	return isOff(v["read_only"]) && isOff(v["super_read_only"]), nil
}

// isOff takes every value it does not know for on: newer MariaDB has several degrees of read_only.
func isOff(value string) bool { return value == "" || value == "0" || strings.EqualFold(value, "OFF") }

// isClosed tells whether the server is closed as far as it can be: with super_read_only where it has one.
func (s *Server) isClosed(ctx context.Context) (bool, error) {
	v, err := s.variables(ctx, "read_only", "super_read_only")
	if err != nil {
		return false, err
	}
	super, ok := v["super_read_only"]
	return !isOff(v["read_only"]) && (!ok || !isOff(super)), nil
}

// AllowWrites opens the server for writes and reads back that it is open.
func (s *Server) AllowWrites(ctx context.Context) error {
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.change(ctx, flavour.allowWrites, during{}); err != nil {
		return err
	}
	open, err := s.Writable(ctx)
	if err != nil {
		return fmt.Errorf("allow writes: %w", err)
	}
	if !open {
		return fmt.Errorf("allow writes on %s: read_only is still set", s.cfg.Addr)
	}
	return nil
}

// Deny says how DenyWrites treats clients that are in its way.
type Deny struct {
	// Grace is how long a statement that is in the way may go on before its connection is killed. Connections that are
	// idle, in LOCK TABLES or in a transaction, get none.
	Grace time.Duration

	// Ready is called once the connections that it takes are had, before anything is changed: the place to keep new
	// clients away by means that would keep this program away too. It is not called where no connection can be had.
	// nil: nothing.
	Ready func()
}

// DenyWrites closes the server for writes and reads back that it is closed: no transaction of an ordinary user is
// committed after it has returned without an error. Setting read_only waits for every LOCK TABLES and every running
// write ("read_only" in the MariaDB and MySQL manuals); what is still in the way after a tenth of a second is killed as
// Deny says. With an error the server may be closed or not, but nothing is left behind that closes it later, unless the
// error says so.
func (s *Server) DenyWrites(ctx context.Context, opts Deny) error {
	ctx, cancel := bounded(ctx, opts.Grace+s.cfg.Timeout)
	defer cancel()
	spare := mopUp(ctx)

	way := &way{server: s, started: time.Now(), grace: opts.Grace}
	err := s.change(ctx, flavour.denyWrites, during{opts.Ready, way.clear})
	if isServerError(err, errUnknownVariable) {
		err = s.change(ctx, flavour.denyOrdinaryWrites, during{stuck: way.clear})
	}

	// What the server says now is the truth, whatever became of the statement, and wanted also by who has cancelled.
	reading := ctx
	if errors.Is(ctx.Err(), context.Canceled) {
		var cancel context.CancelFunc
		reading, cancel = context.WithTimeout(context.WithoutCancel(ctx), spare)
		defer cancel()
	}
	closed, readErr := s.isClosed(reading)
	switch {
	case readErr == nil && closed:
		return nil
	case err == nil && readErr == nil:
		return fmt.Errorf("deny writes on %s: read_only is not set", s.cfg.Addr)
	case err == nil:
		return fmt.Errorf("deny writes on %s: can't tell whether it is done: %w", s.cfg.Addr, readErr)
	}
	if way := way.describe(); way != nil {
		err = fmt.Errorf("%w; %w", err, way)
	}
	if readErr != nil {
		err = fmt.Errorf("%w; can't tell whether it took effect: %w", err, readErr)
	}
	return err
}

// way is what is in the way of setting read_only.
type way struct {
	server  *Server
	started time.Time
	grace   time.Duration
	left    []process // those in the way at the last look
	err     error     // why nothing could be done
}

// clear looks once at who is connected and kills who must go.
func (w *way) clear(ctx context.Context) {
	list, err := w.server.listProcesses(ctx)
	if err == nil {
		var kill []uint64
		kill, _ = sortOut(list, w.server.owns(), time.Since(w.started) >= w.grace)
		w.left = inTheWay(list, w.server.owns())
		_, err = w.server.killAll(ctx, kill)
	}
	if ctx.Err() == nil { // else it says no more than that time is over
		w.err = err
	}
}

// describe names whom the statement may have waited for.
func (w *way) describe() error {
	if len(w.left) == 0 {
		return w.err
	}
	texts := make([]string, 0, 3)
	for _, p := range w.left[:min(len(w.left), 3)] {
		texts = append(texts, p.String())
	}
	err := fmt.Errorf("%d connections in the way, such as %s", len(w.left), strings.Join(texts, ", "))
	if w.err != nil {
		err = fmt.Errorf("%w; %w", err, w.err)
	}
	return err
}
