package mysqlctl

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Position is a place in the binary log of one server. It can't be compared with a position in another server's log.
type Position struct {
	File   string // name of the log file without folder, such as "mysql-bin.000012"
	Offset uint64 // bytes from its start
}

// String gives "FILE:OFFSET", or nothing for the zero Position.
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	return p.File + ":" + strconv.FormatUint(p.Offset, 10)
}

// IsZero tells that there is no position: a replica that has not read anything yet has the zero Position.
func (p Position) IsZero() bool { return p == Position{} }

// ParsePosition reads FILE:OFFSET, as Position.String writes it. The empty text of the zero Position is an error.
func ParsePosition(s string) (Position, error) {
	file, offset, ok := cutLast(s, ":")
	n, err := strconv.ParseUint(offset, 10, 64)
	if !ok || file == "" || err != nil {
		return Position{}, fmt.Errorf("parse binary log position %q: want FILE:OFFSET", s)
	}
	return Position{File: file, Offset: n}, nil
}

// Compare returns -1, 0 or 1 as p lies before, at or after q. It fails where the two files do not belong to one log:
// their names must be equal up to the number after the last dot.
func (p Position) Compare(q Position) (int, error) {
	pBase, pNumber, err := splitLogFile(p.File)
	if err != nil {
		return 0, err
	}
	qBase, qNumber, err := splitLogFile(q.File)
	if err != nil {
		return 0, err
	}
	if pBase != qBase {
		return 0, fmt.Errorf("compare positions %s and %s: they are of different binary logs", p, q)
	}
	return cmp.Or(cmp.Compare(pNumber, qNumber), cmp.Compare(p.Offset, q.Offset)), nil
}

func splitLogFile(name string) (base string, number uint64, err error) {
	base, digits, ok := cutLast(name, ".")
	number, err = strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return "", 0, fmt.Errorf("read binary log file name %q: want NAME.NUMBER", name)
	}
	return base, number, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
