package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Source is a server to replicate from.
type Source struct {
	Host           string
	Port           int
	User, Password string
	Start          Position // where to start in the source's binary log; not used with GTID
	GTID           bool     // start by GTID (MariaDB: slave_pos, MySQL: auto position)
}

// Repoint makes the server replicate from src and returns once both threads run. What the server has received from its
// former source and not executed is dropped: call WaitExecuted first. Where the server would refuse src (CheckSource)
// it fails and changes nothing. After any other error replication goes on as before, is stopped, or points to src;
// Replica tells which.
func (s *Server) Repoint(ctx context.Context, src Source) error {
	if !src.GTID && src.Start.IsZero() {
		return fmt.Errorf("repoint %s to %s: no position to start at", s.cfg.Addr, src.Host)
	}
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.Aim(ctx, src); err != nil {
		return err
	}
	if err := s.StartReplication(ctx); err != nil {
		return err
	}
	if err := s.awaitRunning(ctx, src); err != nil {
		return fmt.Errorf("repoint %s to %s:%d: %w", s.cfg.Addr, src.Host, src.Port, err)
	}
	return nil
}

// Aim stops replication, points it at src and leaves it stopped. Where the server would refuse src (CheckSource) it
// fails and leaves replication as it is.
func (s *Server) Aim(ctx context.Context, src Source) error {
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.CheckSource(ctx, src); err != nil {
		return fmt.Errorf("point %s at %s: %w", s.cfg.Addr, src.Host, err)
	}
	if err := s.StopReplication(ctx); err != nil && !errors.Is(err, ErrNotReplica) {
		return err
	}
	beat, err := s.heartbeat(ctx)
	if err != nil {
		return err
	}
	return s.change(ctx, func(f flavour) statement { return f.changeSource(s.cfg.Channel, src, beat) }, during{})
}

// heartbeat reads after how many silent seconds the source sends a heartbeat (MASTER_HEARTBEAT_PERIOD), as a text; ""
// where that is not known. Servers compute this one setting anew when the source's address changes, though an operator
// may have set it. On MySQL a user without a privilege on the table can't read it: then the source is changed all the
// same.
func (s *Server) heartbeat(ctx context.Context) (string, error) {
	rows, err := s.ask(ctx, flavour.showHeartbeat)
	if IsMissingPrivilege(err) || IsMissingTable(err) || isServerError(err, errUnknownColumn) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		if name, _ := r.any("Connection_name", "CHANNEL_NAME"); name != s.cfg.Channel {
			continue
		}
		beat, _ := r.any("Slave_heartbeat_period", "HEARTBEAT_INTERVAL")
		if _, err := strconv.ParseFloat(beat, 64); err == nil {
			return beat, nil
		}
	}
	return "", nil
}

// awaitRunning waits until it has seen both threads run twice in a row: where the source's log does not have the
// position, the I/O thread says that it runs before the source says so.
func (s *Server) awaitRunning(ctx context.Context, src Source) error {
	const apart = 100 * time.Millisecond
	var last Replica
	for seen := 0; seen < 2; {
		now, err := s.Replica(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			last = now
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: I/O thread: %s, SQL thread: %s: %w", ErrNotReplicating, last.IORunning,
				last.SQLRunning, ctx.Err())
		case last.SourceHost != src.Host || last.SourcePort != src.Port:
			return fmt.Errorf("the server replicates from %s:%d instead", last.SourceHost, last.SourcePort)
		case last.IOError != "":
			return fmt.Errorf("%w: I/O thread: %s: %s", ErrNotReplicating, last.IORunning, last.IOError)
		case last.SQLError != "":
			return fmt.Errorf("%w: SQL thread: %s: %s", ErrNotReplicating, last.SQLRunning, last.SQLError)
		case last.IORunning == "Yes" && last.SQLRunning == "Yes":
			seen++
		default:
			seen = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(apart):
		}
	}
	return nil
}

// StopReplication stops both threads. Where they are stopped already it does nothing; where the channel does not exist
// it fails with ErrNotReplica.
func (s *Server) StopReplication(ctx context.Context) error {
	return noChannel(s.change(ctx, func(f flavour) statement { return f.stopReplica(s.cfg.Channel) }, during{}))
}

// StopReceiving stops the I/O thread alone: what has been received is still executed. It fails as StopReplication does.
func (s *Server) StopReceiving(ctx context.Context) error {
	return noChannel(s.change(ctx, func(f flavour) statement { return f.stopReceiving(s.cfg.Channel) }, during{}))
}

// StartReplication starts both threads. Where they run already it does nothing; where replication is not set up it
// fails with ErrNotReplica.
func (s *Server) StartReplication(ctx context.Context) error {
	return noChannel(s.change(ctx, func(f flavour) statement { return f.startReplica(s.cfg.Channel) }, during{}))
}
