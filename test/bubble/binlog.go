package bubble

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mysql-mmm/pkg/mysqlctl"
)

// txn is a transaction: the write of one client.
type txn struct {
	origin uint32 // server_id of the server that committed it first
	number int    // counts those of the origin
	write  int    // which of the clients' writes it is
}

func (t txn) gtid() string { return fmt.Sprintf("0-%d-%d", t.origin, t.number) }

// logged is a transaction in a binary log, with the places of its beginning and its end.
type logged struct {
	txn
	at, end mysqlctl.Position
}

// binlog is a server's binary log.
type binlog struct {
	base string   // of the files' names
	file int      // number of the present file
	name string   // its name
	tail uint64   // its length
	list []logged // the transactions of all files
}

const (
	logHead = 4   // length of a file without a transaction
	logStep = 100 // length of a transaction
)

func newBinlog(host string) binlog {
	b := binlog{base: host + "-bin"}
	b.begin(1)
	return b
}

// begin begins a new file.
func (b *binlog) begin(file int) {
	b.file, b.name, b.tail = file, fmt.Sprintf("%s.%06d", b.base, file), logHead
}

// end is where the next transaction goes.
func (b *binlog) end() mysqlctl.Position { return b.place(b.tail) }

func (b *binlog) place(offset uint64) mysqlctl.Position {
	return mysqlctl.Position{File: b.name, Offset: offset}
}

func (b *binlog) append(t txn) mysqlctl.Position {
	at := b.end()
	b.tail += logStep
	b.list = append(b.list, logged{t, at, b.end()})
	return b.end()
}

// rotate begins the next file, as every start of a server does.
func (b *binlog) rotate() { b.begin(b.file + 1) }

// reset is RESET MASTER.
func (b *binlog) reset() {
	b.begin(1)
	b.list = nil
}

// index is the index of the first transaction that begins at or after a place. It returns false where the log does not
// reach as far as that place.
func (b *binlog) index(p mysqlctl.Position) (int, bool) {
	if p.IsZero() {
		return 0, true
	}
	if c, err := p.Compare(b.end()); err != nil || c > 0 {
		return 0, false
	}
	i, _ := slices.BinarySearchFunc(b.list, p, func(l logged, p mysqlctl.Position) int {
		c, _ := l.at.Compare(p)
		return c
	})
	return i, true
}

// between are the transactions that begin at or after from, and before to.
func (b *binlog) between(from, to mysqlctl.Position) ([]logged, error) {
	i, ok := b.index(from)
	if !ok {
		return nil, mysqlctl.ErrLogGone
	}
	var list []logged
	for _, l := range b.list[i:] {
		if c, err := l.at.Compare(to); err != nil || c >= 0 {
			return list, err
		}
		list = append(list, l)
	}
	return list, nil
}

// set is a set of GTIDs.
type set map[uint32]map[int]bool

func (s set) add(t txn) {
	if s[t.origin] == nil {
		s[t.origin] = map[int]bool{}
	}
	s[t.origin][t.number] = true
}

func (s set) has(t txn) bool { return s[t.origin][t.number] }

// String lists all numbers, as in ORIGIN:N+N,ORIGIN:N. No server writes a set like that; the programs pass such texts
// on without reading them.
func (s set) String() string {
	var origins []string
	for o, numbers := range s {
		var list []string
		for n := range numbers {
			list = append(list, strconv.Itoa(n))
		}
		origins = append(origins, fmt.Sprintf("%d:%s", o, strings.Join(list, "+")))
	}
	return strings.Join(origins, ",")
}

// parseSet reads what String writes.
func parseSet(text string) (list []txn) {
	for _, part := range strings.Split(text, ",") {
		origin, numbers, _ := strings.Cut(part, ":")
		o, _ := strconv.ParseUint(origin, 10, 32)
		for _, n := range strings.Split(numbers, "+") {
			if k, err := strconv.Atoi(n); err == nil {
				list = append(list, txn{origin: uint32(o), number: k})
			}
		}
	}
	return list
}
