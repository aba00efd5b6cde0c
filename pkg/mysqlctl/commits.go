package mysqlctl

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CommitWait is a connection whose transaction waits to become durable: for the disk, or for an acknowledgement of
// semi-synchronous replication.
type CommitWait struct {
	ID    uint64
	State string        // in the server's words
	For   time.Duration // how long its statement has run, in whole seconds
}

// commitStates are the thread states in which a transaction has been executed and waits to become durable: "General
// Thread States" and "Replication Source Thread States" of the MySQL manual, "Thread States" of the MariaDB manual.
// Waiting for somebody's lock is none of them.
var commitStates = []string{
	"commit", "waiting for handler commit", "waiting for prior transaction to commit",
	"waiting for semi-sync ack from slave", "waiting for semi-sync ack from replica",
}

// WaitingCommits lists who waits for a commit at this moment. It needs PROCESS for the connections of others.
func (s *Server) WaitingCommits(ctx context.Context) ([]CommitWait, error) {
	rows, err := s.ask(ctx, flavour.showCommits)
	if err != nil {
		return nil, err
	}
	var list []CommitWait
	for _, r := range rows {
		id, err := strconv.ParseUint(r["ID"], 10, 64)
		if err != nil || !slices.Contains(commitStates, strings.ToLower(r["STATE"])) {
			continue
		}
		seconds, _ := strconv.Atoi(r["TIME"]) // that of a thread of the server may be below 0
		list = append(list, CommitWait{ID: id, State: r["STATE"], For: time.Duration(max(seconds, 0)) * time.Second})
	}
	return list, nil
}

// Folders are those that every commit writes to: the data's and the binary log's.
func (s *Server) Folders(ctx context.Context) ([]string, error) {
	v, err := s.variables(ctx, "datadir", "log_bin_basename")
	if err != nil {
		return nil, err
	}
	var list []string
	if data := v["datadir"]; data != "" {
		list = append(list, filepath.Clean(data))
	}
	if base := v["log_bin_basename"]; base != "" && !slices.Contains(list, filepath.Dir(base)) {
		list = append(list, filepath.Dir(base))
	}
	return list, nil
}
