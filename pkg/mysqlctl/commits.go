package mysqlctl

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WriteWait is a connection whose statement may wait for a disk.
type WriteWait struct {
	ID      uint64
	State   string        // in the server's words
	For     time.Duration // how long its statement has run, in whole seconds
	Commits bool          // it waits to become durable: for the disk, or for a replica's acknowledgement
	Writes  bool          // it writes rows, or waits before it can
}

// commitStates are the thread states in which a transaction has been executed and waits to become durable: "General
// Thread States" and "Replication Source Thread States" of the MySQL manual, "Thread States" of the MariaDB manual.
// States in which a statement waits for somebody's lock are not among them.
var commitStates = []string{
	"commit", "waiting for handler commit", "waiting for prior transaction to commit",
	"waiting for semi-sync ack from slave", "waiting for semi-sync ack from replica",
}

// writeStates are the thread states in which a statement writes rows, by the same pages. A statement stays in them also
// while InnoDB waits for a page, for room in its log or for a file to grow, and while another's row lock holds it up.
var writeStates = []string{
	"update", "updating", "updating main table", "updating reference tables", "deleting from main table",
	"deleting from reference tables", "end", "query end", "end of update loop",
}

// replicationUser is the user of the replication threads in SHOW PROCESSLIST of both servers.
const replicationUser = "system user"

// WaitingWrites lists the statements of clients that run at this moment. The replication threads are left out: their
// commits may wait for an acknowledgement that the dead source was to give. To see other users' connections it needs
// PROCESS.
//
// It asks with SHOW PROCESSLIST, which opens no table. A question to information_schema would not be answered while a
// disk hangs: MySQL writes that answer into a temporary table first.
func (s *Server) WaitingWrites(ctx context.Context) ([]WriteWait, error) {
	rows, err := s.ask(ctx, flavour.showProcesses)
	if err != nil {
		return nil, err
	}
	return writeWaits(rows), nil
}

func writeWaits(rows []row) []WriteWait {
	var list []WriteWait
	for _, r := range rows {
		id, err := strconv.ParseUint(r["Id"], 10, 64)
		state := strings.ToLower(r["State"])
		commits := slices.Contains(commitStates, state)
		if err != nil || r["User"] == replicationUser || r["Command"] != "Query" && r["Command"] != "Execute" {
			continue
		}
		seconds, _ := strconv.Atoi(r["Time"]) // threads of the server may have a time below 0
		list = append(list, WriteWait{ID: id, State: r["State"], For: time.Duration(max(seconds, 0)) * time.Second,
			Commits: commits, Writes: slices.Contains(writeStates, state)})
	}
	return list
}

// FileWrites is what InnoDB's counters say of its writes to files. From MariaDB 10.8 on none of them counts the writes
// to InnoDB's log.
type FileWrites struct {
	UnderWay uint64 // writes and flushes that have begun and not ended
	Count    string // the counters of those that were made: it changes with each
}

// FileWrites asks InnoDB for its counters ("InnoDB Status Variables" of both manuals).
func (s *Server) FileWrites(ctx context.Context) (FileWrites, error) {
	rows, err := s.ask(ctx, flavour.showFileWrites)
	if err != nil {
		return FileWrites{}, err
	}
	value := map[string]string{}
	for _, r := range rows {
		value[strings.ToLower(r["Variable_name"])] = r["Value"]
	}
	var w FileWrites
	for _, name := range writesUnderWay {
		if n, err := strconv.ParseInt(value[name], 10, 64); err == nil && n > 0 { // a counter has been seen below 0
			w.UnderWay += uint64(n)
		}
	}
	counts := make([]string, len(writesMade))
	for i, name := range writesMade {
		counts[i] = value[name]
	}
	w.Count = strings.Join(counts, " ")
	return w, nil
}

var (
	writesUnderWay = []string{"innodb_data_pending_writes", "innodb_data_pending_fsyncs",
		"innodb_os_log_pending_writes", "innodb_os_log_pending_fsyncs"}
	writesMade = []string{"innodb_data_writes", "innodb_data_fsyncs", "innodb_os_log_written", "innodb_os_log_fsyncs"}
)

// Folders returns the folders that every commit writes to: that of the data and that of the binary log.
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
