package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Transaction is one transaction, or statement that commits by itself, in a server's binary log.
type Transaction struct {
	At       Position // where it begins
	ServerID uint32   // of the server on which it was committed first
	GTID     string   // as the log has it; empty on MySQL without GTIDs
}

// ErrLogGone means that the binary log does not have a place, or has it no more: the log file was purged, the log was
// begun anew, or the place is one of another server's log.
var ErrLogGone = errors.New("the binary log does not have this position")

var errEnough = errors.New("no more is wanted")

// logChunk is how many events are asked for at a time.
const logChunk = 2000

// Transactions reads the server's own binary log from start up to end and returns the transactions that begin there, in
// order, the first limit of them. start is a place where a transaction begins, or the end of the log; the zero Position
// is the beginning of the oldest log file that the server still has. Without a log file it fails with ErrNoBinlog, and
// with ErrLogGone where the log does not have start. It finds nothing on servers that don't mark where a transaction
// begins (MySQL before 5.7).
func (s *Server) Transactions(ctx context.Context, start, end Position, limit int) ([]Transaction, error) {
	if start.IsZero() {
		logs, err := s.ask(ctx, flavour.showLogs)
		if err != nil {
			return nil, err
		}
		if len(logs) == 0 {
			return nil, fmt.Errorf("list the binary logs of %s: %w", s.cfg.Addr, ErrNoBinlog)
		}
		start = Position{File: logs[0]["Log_name"], Offset: 4}
	}
	var list []Transaction
	err := s.walkLog(ctx, start, end, func(e row, at Position) error {
		gtid, begins := beginning(e)
		if !begins {
			return nil
		}
		id, err := strconv.ParseUint(e["Server_id"], 10, 32)
		if err != nil {
			return fmt.Errorf("read server id: %w", err)
		}
		list = append(list, Transaction{At: at, ServerID: uint32(id), GTID: gtid})
		if len(list) == limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("read the binary log of %s from %s to %s: %w", s.cfg.Addr, start, end, err)
	}
	return list, nil
}

// walkLog visits the events from start to end, across files.
func (s *Server) walkLog(ctx context.Context, start, end Position, visit func(e row, at Position) error) error {
	for at := start; ; {
		if c, err := at.Compare(end); err != nil || c >= 0 {
			return err
		}
		events, err := s.ask(ctx, func(f flavour) statement { return f.showEvents(at, logChunk) })
		if isServerError(err, errReadingEvents) {
			return fmt.Errorf("%w: %w", ErrLogGone, err)
		}
		if err != nil {
			return err
		}
		next := at
		for _, e := range events {
			here, err := position(e["Log_name"], e["Pos"])
			if err != nil {
				return err
			}
			if c, err := here.Compare(end); err != nil || c >= 0 {
				return err
			}
			if err := visit(e, here); err != nil {
				return err
			}
			if next, err = position(e["Log_name"], e["End_log_pos"]); err != nil {
				return err
			}
		}
		if len(events) < logChunk { // the end of the file
			if next, err = next.nextFile(); err != nil {
				return err
			}
		}
		at = next
	}
}

// nextFile returns the first place in the log file after p's: every log file begins with four bytes that mark it.
func (p Position) nextFile() (Position, error) {
	base, number, err := splitLogFile(p.File)
	digits := len(p.File) - len(base) - len(".")
	return Position{File: fmt.Sprintf("%s.%0*d", base, digits, number+1), Offset: 4}, err
}

var (
	mariaGTID = regexp.MustCompile(`GTID (\d+-\d+-\d+)`) // "BEGIN GTID 0-1-5 cid=12", "GTID 0-1-6"
	// "SET @@SESSION.GTID_NEXT= 'uuid:5'", "… 'ANONYMOUS'"
	mysqlGTID = regexp.MustCompile(`GTID_NEXT\s*=\s*'([0-9a-f-]+:.+)'`)
)

// beginning says whether a transaction begins with the event, and its GTID ("SHOW BINLOG EVENTS" in both manuals).
func beginning(e row) (gtid string, begins bool) {
	switch e["Event_type"] {
	case "Gtid", "Anonymous_Gtid", "Gtid_tagged":
	default:
		return "", false
	}
	for _, r := range []*regexp.Regexp{mariaGTID, mysqlGTID} {
		if m := r.FindStringSubmatch(e["Info"]); m != nil {
			return m[1], true
		}
	}
	return "", true
}

// Translate compares a stretch of one server's log (was) with a stretch of another server's log (now). Both begin at
// places that mean the same; end is where now ends. It returns the place in the other server's log that means the same
// as the end of was, and fails where now does not begin with the transactions of was: then there is no such place.
func Translate(was, now []Transaction, end Position) (Position, error) {
	for i, t := range was {
		if i >= len(now) {
			return Position{}, fmt.Errorf("the other log does not have %s", t)
		}
		if now[i].ServerID != t.ServerID || now[i].GTID != t.GTID {
			return Position{}, fmt.Errorf("the other log does not have %s, but %s", t, now[i])
		}
	}
	if len(now) > len(was) {
		return now[len(was)].At, nil
	}
	return end, nil
}

// Describe names transactions for people: ranges of GTIDs that follow each other, or places in the log. It is one line
// of bounded length.
func Describe(list []Transaction) string {
	type span struct{ first, last string }
	var spans []span
	var prefix string
	var number uint64
	for _, t := range list {
		name := t.GTID
		if name == "" {
			name = t.At.String()
		}
		head, n, ok := gtidNumber(t.GTID)
		if ok && len(spans) > 0 && head == prefix && n == number+1 {
			spans[len(spans)-1].last = name
		} else if t.GTID == "" && len(spans) > 0 && prefix == "" {
			spans[len(spans)-1].last = name
		} else {
			spans = append(spans, span{name, name})
		}
		prefix, number = head, n
	}
	const most = 5
	var texts []string
	for _, s := range spans[:min(len(spans), most)] {
		if s.first == s.last {
			texts = append(texts, s.first)
		} else {
			texts = append(texts, s.first+" to "+s.last)
		}
	}
	if len(spans) > most {
		texts = append(texts, "...")
	}
	return strings.Join(texts, ", ")
}

// gtidNumber splits a GTID into the part before its last separator and the number after it, which counts up.
func gtidNumber(gtid string) (head string, number uint64, ok bool) {
	i := strings.LastIndexAny(gtid, ":-")
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(gtid[i+1:], 10, 64)
	return gtid[:i], n, err == nil
}

// String names the transaction for errors.
func (t Transaction) String() string {
	return fmt.Sprintf("transaction %s of server_id %d at %s", t.GTID, t.ServerID, t.At)
}
