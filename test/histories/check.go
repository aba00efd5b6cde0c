package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// operation is one statement of a client: it appends a value to a list, or reads the list. Its times are counted from
// the start of the run.
type operation struct {
	client  int
	list    int64
	value   string   // appended; "": it reads
	read    []string // what it has read
	call    time.Duration
	answer  time.Duration
	unknown bool // it ended with an error that does not say whether it was, or will be, executed
}

// history is all that the clients did and saw in a run.
type history struct {
	operations []operation         // by the writer's address, without those that were certainly not executed
	readers    []operation         // reads by the readers' addresses
	final      map[int64][]string  // the lists in the end, when all servers have the same
	lost       map[string]struct{} // values that the monitor has named as lost
	vanished   map[string]struct{} // values that no client was told of, and that readers of a slave may have seen
}

// verdict says what is wrong with a history, a line each. No line: every list is linearizable, readers saw prefixes of
// the final list, and no value is in a list twice. limit is how long the checker may think about one list.
func (h history) verdict(limit time.Duration) []string {
	var wrong []string
	seen := map[string]bool{} // values that somebody has read
	for list, values := range h.final {
		have := map[string]bool{}
		for _, v := range values {
			if have[v] {
				wrong = append(wrong, fmt.Sprintf("list %d has %s twice", list, v))
			}
			have[v], seen[v] = true, true
		}
	}
	byList := map[int64][]operation{}
	var last time.Duration
	for _, op := range h.operations {
		op.read = h.kept(op.read)
		for _, v := range op.read {
			seen[v] = true
		}
		last = max(last, op.answer)
		byList[op.list] = append(byList[op.list], op)
	}
	for _, list := range slices.Sorted(maps.Keys(byList)) {
		ops := byList[list]
		ops = append(ops, operation{list: list, read: h.final[list], call: last + 1, answer: last + 2})
		if why := h.linearizable(ops, h.final[list], seen, limit); why != "" {
			wrong = append(wrong, fmt.Sprintf("list %d: %s", list, why))
		}
	}
	for _, r := range h.readers {
		values := without(h.kept(r.read), h.vanished)
		if final := h.final[r.list]; len(values) > len(final) || !slices.Equal(values, final[:len(values)]) {
			wrong = append(wrong, fmt.Sprintf("list %d: at %v a reader saw values that the final list does not begin with: %s",
				r.list, r.answer, tail(values)))
		}
	}
	return wrong
}

// keep writes the history to a file, for people: a line for each operation, and for each list in the end.
func (h history) keep(path string) error {
	var b strings.Builder
	for _, op := range slices.Concat(h.operations, h.readers) {
		fmt.Fprintf(&b, "%v to %v: client %d, list %d, append %q, read %q, unknown %v\n", op.call, op.answer, op.client,
			op.list, op.value, strings.Join(op.read, ","), op.unknown)
	}
	for _, list := range slices.Sorted(maps.Keys(h.final)) {
		fmt.Fprintf(&b, "in the end: list %d: %s\n", list, strings.Join(h.final[list], ","))
	}
	fmt.Fprintf(&b, "lost %q, vanished %q\n", slices.Sorted(maps.Keys(h.lost)), slices.Sorted(maps.Keys(h.vanished)))
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// kept are the values without those that the monitor has named as lost.
func (h history) kept(values []string) []string { return without(values, h.lost) }

func without(values []string, gone map[string]struct{}) []string {
	if len(gone) == 0 {
		return values
	}
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { _, is := gone[v]; return is })
}

// listOf is the model of a list for the checker. order has the values of the final list: a state of the model is how
// many of them have been appended. An input is the value that is appended, or "" for a read. An output is how many
// values were read, or noPrefix where the final list does not begin with them.
func listOf(order []string) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return 0 },
		Step: func(now, in, out any) (bool, any) {
			n := now.(int)
			if v := in.(string); v != "" {
				return n < len(order) && order[n] == v, n + 1
			}
			return out == n, n
		},
	}
}

const noPrefix = -1

// lengthOf is how many values were read, or noPrefix.
func lengthOf(read, order []string) int {
	if len(read) > len(order) || !slices.Equal(read, order[:len(read)]) {
		return noPrefix
	}
	return len(read)
}

// linearizable says why the operations on one list are not linearizable, or "" where they are. An append with an
// unknown result may take effect at any time after its call; where nobody has ever read its value, it may as well never
// have been executed, and is left out.
func (h history) linearizable(ops []operation, order []string, seen map[string]bool, limit time.Duration) string {
	var list []porcupine.Operation
	for _, op := range ops {
		if _, lost := h.lost[op.value]; lost {
			continue
		}
		answer := int64(op.answer)
		switch {
		case !op.unknown && op.value != "" && !seen[op.value]:
			return fmt.Sprintf("%s was acknowledged after %v and is lost", op.value, op.answer)
		case op.unknown && (op.value == "" || !seen[op.value]):
			continue
		case op.unknown:
			answer = math.MaxInt64
		}
		list = append(list, porcupine.Operation{ClientId: op.client, Input: op.value, Output: lengthOf(op.read, order),
			Call: int64(op.call), Return: answer})
	}
	switch porcupine.CheckOperationsTimeout(listOf(order), list, limit) {
	case porcupine.Illegal:
		return "not linearizable" + suspect(ops)
	case porcupine.Unknown:
		return fmt.Sprintf("not decided within %v", limit)
	case porcupine.Ok:
	}
	return ""
}

// suspect describes two reads that contradict each other, for people; "" where there are none.
func suspect(ops []operation) string {
	reads := slices.DeleteFunc(slices.Clone(ops), func(o operation) bool { return o.value != "" || o.unknown })
	slices.SortStableFunc(reads, func(a, b operation) int { return cmp.Compare(a.answer, b.answer) })
	for i, a := range reads {
		for _, b := range reads[i+1:] {
			switch n := min(len(a.read), len(b.read)); {
			case !slices.Equal(a.read[:n], b.read[:n]):
				return fmt.Sprintf(": at %v client %d read %s, at %v client %d read %s",
					a.answer, a.client, tail(a.read), b.answer, b.client, tail(b.read))
			case b.call > a.answer && len(b.read) < len(a.read):
				return fmt.Sprintf(": at %v client %d read %d values, and after %v client %d read %d",
					a.answer, a.client, len(a.read), b.call, b.client, len(b.read))
			}
		}
	}
	return ""
}

func tail(values []string) string {
	return fmt.Sprintf("%d values, the last ones %s", len(values), strings.Join(values[max(0, len(values)-3):], ","))
}
