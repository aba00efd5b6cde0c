package mysqlctl

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Applier is what the threads that execute what replication has received do at this moment, of all channels together.
type Applier struct {
	Busy bool // one of them executes something, or waits while it does
	// Unacknowledged: one of them waits until a replica acknowledges what it commits (semi-synchronous replication)
	Unacknowledged bool
}

// idleStates are the thread states in which a replication thread has nothing to execute: "Replication I/O (Receiver)
// Thread States", "Replication SQL Thread States" and "Replication Source Thread States" of the MySQL manual, "Slave
// SQL Thread States" and "Slave I/O Thread States" of the MariaDB manual. A worker that has executed a part of a
// transaction and waits for its rest is in one of them as well.
var idleStates = []string{
	"has read all relay log; waiting for more updates", "has read all relay log; waiting for the slave i/o thread",
	"waiting for an event from coordinator", "waiting for work from sql thread",
	"waiting for master to send event", "waiting for source to send event",
	"reconnecting after a failed", "waiting to reconnect", "connecting to master", "connecting to source",
}

// ackStates are the thread states in which a commit waits for a replica's acknowledgement.
var ackStates = []string{"waiting for semi-sync ack from slave", "waiting for semi-sync ack from replica"}

// Applier asks what the replication threads do, with SHOW PROCESSLIST. That needs PROCESS.
func (s *Server) Applier(ctx context.Context) (Applier, error) {
	rows, err := s.ask(ctx, flavour.showProcesses)
	if err != nil {
		return Applier{}, err
	}
	return applier(rows), nil
}

func applier(rows []row) (a Applier) {
	for _, r := range rows {
		state := strings.ToLower(r["State"])
		if r["User"] != replicationUser || r["Command"] == "Daemon" { // MariaDB: threads of InnoDB
			continue
		}
		idle := func(words string) bool { return strings.Contains(state, words) }
		if state == "" || slices.ContainsFunc(idleStates, idle) {
			continue
		}
		a.Busy = true
		a.Unacknowledged = a.Unacknowledged || slices.Contains(ackStates, state)
	}
	return a
}

// ReleaseCommits lets replicated transactions commit that wait for a replica's acknowledgement now. Later ones wait
// again. Semi-synchronous replication is turned off and on again: STOP SLAVE would wait for the acknowledgement itself,
// and a MariaDB server by GTID would throw the relay log away. The server gets both statements in one question, so that
// it executes the second one also where this program ends in between. On MariaDB (from 10.5 on) that needs REPLICATION
// MASTER ADMIN, which an agent needs for nothing else. On a server that takes writes it is an error: a client would be
// told that a commit is safe which no other host has.
func (s *Server) ReleaseCommits(ctx context.Context) error {
	sess, err := s.several(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	rows, err := sess.ask(ctx, func(f flavour) statement {
		return f.showVariables("read_only", "rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled")
	})
	if err != nil {
		return err
	}
	closed, names := false, []string(nil)
	for _, r := range rows {
		switch name := strings.ToLower(r["Variable_name"]); {
		case !isOn(r["Value"]) && name != "read_only": // it is off
		case name == "read_only":
			closed = r["Value"] != "OFF" && r["Value"] != "0"
		default:
			names = append(names, name)
		}
	}
	if !closed {
		return fmt.Errorf("let commits go on without an acknowledgement on %s: it takes writes, and a client's would go on too",
			s.cfg.Addr)
	}
	for _, name := range names {
		_, err = sess.ask(ctx, func(f flavour) statement { return f.toggle(name) })
	}
	return err
}
