package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Writable tells whether the server takes writes of ordinary users: neither read_only nor super_read_only is set.
func (s *Server) Writable(ctx context.Context) (bool, error) {
	v, err := s.variables(ctx, "read_only", "super_read_only")
	if err != nil {
		return false, err
	}
	return isOff(v["read_only"]) && isOff(v["super_read_only"]), nil
}

// isOff counts every value that it does not know as on: newer versions of MariaDB have several degrees of read_only.
func isOff(value string) bool { return value == "" || value == "0" || strings.EqualFold(value, "OFF") }

// isClosed tells whether read_only is set, and super_read_only as well where the server has it.
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

// Deny says how DenyWrites treats the clients that keep it from closing the server.
type Deny struct {
	// Grace is how long a running statement may go on before its connection is killed. Connections that are idle, in
	// LOCK TABLES or in a transaction, get no grace.
	Grace time.Duration

	// Ready is called once DenyWrites has the connections that it needs, and before it changes anything: the place to
	// keep new clients away by means that would keep this program away too. Where no connection can be opened it is not
	// called. It may be nil.
	Ready func()
}

// DenyWrites closes the server for writes and reads back that it is closed: no transaction of an ordinary user is
// committed after it has returned without an error. Setting read_only waits for every LOCK TABLES and every running
// write ("read_only" in the MariaDB and MySQL manuals); connections that are still in the way after a tenth of a second
// are killed as Deny says. After an error the server may be closed or not, but no statement is left behind that closes
// it later, unless the error says so. Without a deadline it ends Timeout after the grace.
func (s *Server) DenyWrites(ctx context.Context, opts Deny) error {
	ctx, cancel := bounded(ctx, opts.Grace+s.cfg.Timeout)
	defer cancel()
	spare := mopUp(ctx)

	way := &way{server: s, started: time.Now(), grace: opts.Grace}
	err := s.change(ctx, flavour.denyWrites, during{opts.Ready, way.clear})
	if isServerError(err, errUnknownVariable) {
		err = s.change(ctx, flavour.denyOrdinaryWrites, during{stuck: way.clear})
	}

	// What counts is what the server says now, whatever became of the statement. Where ctx was cancelled, the caller
	// wants to know it all the same.
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

// way clears the way for a statement that sets read_only.
type way struct {
	server  *Server
	started time.Time
	grace   time.Duration
	left    []process // the connections in the way at the last look
	err     error     // why the last look could not be taken, or a connection not be killed
}

// clear looks once at the connections and kills the idle ones, and those that run a statement when their grace is over.
func (w *way) clear(ctx context.Context) {
	list, err := w.server.listProcesses(ctx)
	if err == nil {
		var kill []uint64
		kill, _ = sortOut(list, w.server.owns(), time.Since(w.started) >= w.grace)
		w.left = inTheWay(list, w.server.owns())
		_, err = w.server.killAll(ctx, kill)
	}
	if ctx.Err() == nil { // else err says no more than that the time is over
		w.err = err
	}
}

// describe names the connections for which the statement may have waited; nil where there are none, and no error.
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
