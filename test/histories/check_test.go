package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

func appends(client int, value string, call, answer time.Duration) operation {
	return operation{client: client, list: 1, value: value, call: call, answer: answer}
}

func unknown(client int, value string, call time.Duration) operation {
	return operation{client: client, list: 1, value: value, call: call, answer: call + ms, unknown: true}
}

func reads(client int, values string, call, answer time.Duration) operation {
	return operation{client: client, list: 1, read: split(values), call: call, answer: answer}
}

// TestManyUnknown: the checker decides also where hundreds of statements ended with a broken connection, and finds a
// read among them that is too old.
func TestManyUnknown(t *testing.T) {
	var h history
	var values []string
	for i := range 300 {
		at := time.Duration(i) * ms
		v := fmt.Sprint("v", i)
		values = append(values, v)
		h.operations = append(h.operations, unknown(i%12, v, at))
		if i%20 == 19 {
			h.operations = append(h.operations, reads(12, strings.Join(values, ","), at+5*ms, at+6*ms))
		}
	}
	h.final = map[int64][]string{1: values}
	if wrong := h.verdict(5 * time.Second); len(wrong) > 0 {
		t.Error(wrong)
	}
	h.operations = append(h.operations, reads(13, "v0", 400*ms, 401*ms))
	if wrong := strings.Join(h.verdict(5*time.Second), "\n"); !strings.Contains(wrong, "not linearizable") {
		t.Errorf("a stale read among them: %q", wrong)
	}
}

// TestVerdict: histories as faults leave them, each with what is wrong with it.
func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		history history
		final   string
		lost    []string
		want    string // part of the verdict; "": all is well
	}{
		"nothing": {},
		"one after the other": {history{operations: []operation{
			appends(1, "a", 0, 1*ms), reads(2, "a", 2*ms, 3*ms), appends(1, "b", 4*ms, 5*ms),
			reads(2, "a,b", 6*ms, 7*ms)}}, "a,b", nil, ""},
		"two at once, in either order": {history{operations: []operation{
			appends(1, "a", 0, 5*ms), appends(2, "b", 0, 5*ms), reads(3, "b", 1*ms, 2*ms)}}, "b,a", nil, ""},
		"unknown, and never executed": {history{operations: []operation{
			unknown(1, "a", 0), appends(2, "b", 1*ms, 2*ms)}}, "b", nil, ""},
		"unknown, and executed much later": {history{operations: []operation{
			unknown(1, "a", 0), appends(2, "b", 5*ms, 6*ms), reads(2, "b", 7*ms, 8*ms),
			reads(2, "b,a", 9*ms, 10*ms)}}, "b,a", nil, ""},
		"readers lag": {history{operations: []operation{appends(1, "a", 0, 1*ms), appends(1, "b", 2*ms, 3*ms)},
			readers: []operation{reads(0, "", 4*ms, 5*ms), reads(0, "a", 6*ms, 7*ms),
				reads(0, "", 8*ms, 9*ms)}}, "a,b", nil, ""},
		"an asynchronous loss that is named, and was read": {history{operations: []operation{
			appends(1, "a", 0, 1*ms), appends(1, "b", 2*ms, 3*ms), reads(2, "a,b", 4*ms, 5*ms),
			appends(1, "c", 6*ms, 7*ms), reads(2, "a,c", 8*ms, 9*ms)}},
			"a,c", []string{"b"}, ""},

		"a loss that nobody names": {history{operations: []operation{
			appends(1, "a", 0, 1*ms), appends(1, "b", 2*ms, 3*ms)}}, "a", nil,
			"b was acknowledged after 3ms and is lost"},
		"more is lost than is named": {history{operations: []operation{
			appends(1, "a", 0, 1*ms), appends(1, "b", 2*ms, 3*ms), appends(1, "c", 4*ms, 5*ms)}},
			"a", []string{"c"}, "b was acknowledged"},
		"no lease, and the former writer is still read": {history{operations: []operation{
			appends(1, "a", 0, 1*ms), appends(1, "b", 2*ms, 3*ms), reads(2, "a", 4*ms, 5*ms)}}, "a,b", nil,
			"not linearizable"},
		"no fence, and the former writer takes a write that is lost later": {history{operations: []operation{
			appends(1, "a", 0, 1*ms), appends(2, "x", 2*ms, 3*ms), reads(2, "a,x", 4*ms, 5*ms),
			appends(1, "b", 2*ms, 3*ms), reads(1, "a,b", 4*ms, 5*ms)}},
			"a,b", nil, "at 5ms client 2 read"},
		"AFTER_COMMIT: a read of what was never acknowledged and is gone": {history{operations: []operation{
			unknown(1, "a", 0), reads(2, "a", 2*ms, 3*ms), reads(2, "", 6*ms, 7*ms)}}, "", nil, "not linearizable"},
		"a page cache is lost, and with it what was acknowledged": {history{operations: []operation{
			appends(1, "a", 0, 1*ms), reads(2, "a", 2*ms, 3*ms), reads(2, "", 9*ms, 10*ms)}}, "", nil,
			"not linearizable"},
		"one after the other, and the other way round": {history{operations: []operation{
			appends(1, "a", 0, 1*ms), appends(2, "b", 2*ms, 3*ms)}}, "b,a", nil, "not linearizable"},
		"executed twice": {history{operations: []operation{
			appends(1, "a", 0, 1*ms)}}, "a,a", nil, "has a twice"},
		"a reader saw what never was": {history{operations: []operation{appends(1, "a", 0, 1*ms)},
			readers: []operation{reads(0, "a,b", 2*ms, 3*ms)}}, "a", nil, "does not begin with"},
		"a reader of a slave saw what no client was told to be committed": {history{
			operations: []operation{appends(1, "a", 0, 1*ms), unknown(2, "x", 2*ms)},
			readers:    []operation{reads(0, "a,x", 3*ms, 4*ms), reads(0, "a", 5*ms, 6*ms)},
			vanished:   map[string]struct{}{"x": {}}}, "a", nil, ""},
		"what vanished was acknowledged": {history{
			operations: []operation{appends(1, "a", 0, 1*ms), appends(2, "x", 2*ms, 3*ms)},
			vanished:   map[string]struct{}{"x": {}}}, "a", nil, "x was acknowledged"},
		"a reader saw another order": {history{operations: []operation{appends(1, "a", 0, 5*ms),
			appends(2, "b", 0, 5*ms)},
			readers: []operation{reads(0, "b", 2*ms, 3*ms)}}, "a,b", nil, "does not begin with"},
	} {
		t.Run(name, func(t *testing.T) {
			h := c.history
			h.final, h.lost = map[int64][]string{1: split(c.final)}, map[string]struct{}{}
			for _, v := range c.lost {
				h.lost[v] = struct{}{}
			}
			got := strings.Join(h.verdict(10*time.Second), "\n")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("verdict %q, want %q", got, c.want)
			}
		})
	}
}
