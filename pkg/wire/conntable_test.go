package wire

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipe gives a connection for a table, and tells whether it has been closed.
func pipe(t *testing.T) (c *conn, closed func() bool) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() {
		ours.Close()
		theirs.Close()
	})
	return &conn{Conn: ours}, func() bool { return ours.SetDeadline(time.Time{}) != nil }
}

// A request that came in just as its connection was closed is not carried out, as its sender could not be answered.
func TestClosedConnectionHandlesNothing(t *testing.T) {
	table := newConnTable(1)
	old, gone := pipe(t)
	next, _ := pipe(t)
	if !table.add(t.Context(), old) || !table.add(t.Context(), next) {
		t.Fatal("not added")
	}
	if !gone() {
		t.Error("the old connection is still open")
	}
	if table.handling(old) {
		t.Error("a request of the closed connection may run")
	}
	if !table.handling(next) {
		t.Error("a request of the new connection may not run")
	}
}

// When the table is closed, clients that have asked something still get their answer.
func TestCloseSparesAnswers(t *testing.T) {
	table := newConnTable(3)
	idle, idleGone := pipe(t)
	running, runningGone := pipe(t)
	answered, answeredGone := pipe(t)
	for _, c := range []*conn{idle, running, answered} {
		table.add(t.Context(), c)
	}
	table.handling(running)
	table.handling(answered)
	table.answering(answered, true)
	table.close()
	if !idleGone() || runningGone() || answeredGone() {
		t.Errorf("closed: waiting %v, handling %v, answering %v", idleGone(), runningGone(), answeredGone())
	}
	table.waiting(answered)
	if !answeredGone() {
		t.Error("open after its answer")
	}
	late, _ := pipe(t)
	if table.add(t.Context(), late) {
		t.Error("a connection was added to a closed table")
	}
}

// A client that has asked something keeps its place for as long as there are strangers, however long it is silent.
func TestStrangersGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newConnTable(3)
		add := func() (c *conn, gone func() bool) {
			c, gone = pipe(t)
			table.add(t.Context(), c)
			return c, gone
		}
		client, clientGone := add()
		table.handling(client)
		table.answering(client, true)
		table.waiting(client)
		time.Sleep(time.Hour)
		_, oldestGone := add()
		time.Sleep(time.Millisecond)
		refused, refusedGone := add()
		table.handling(refused)
		table.answering(refused, false)
		table.waiting(refused)
		began := time.Now()
		add()
		if took := time.Since(began); clientGone() || !oldestGone() || refusedGone() || took < minSilence/2 {
			t.Fatalf("after %v closed: client %v, oldest stranger %v, the other %v", took, clientGone(), oldestGone(),
				refusedGone())
		}
		add()
		if clientGone() || !refusedGone() {
			t.Fatalf("closed: client %v, second stranger %v", clientGone(), refusedGone())
		}
	})
}

// A client that has just come, or is just being answered after a long request, is not driven out by a newcomer.
func TestNobodyIsDrivenOutAtOnce(t *testing.T) {
	for name, occupy := range map[string]func(*connTable, *conn){
		"new": func(*connTable, *conn) {},
		"answering": func(table *connTable, c *conn) {
			table.handling(c)
			time.Sleep(time.Hour)
			table.answering(c, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := newConnTable(1)
				old, gone := pipe(t)
				table.add(t.Context(), old)
				occupy(table, old)
				next, _ := pipe(t)
				began := time.Now()
				go table.add(t.Context(), next)
				time.Sleep(minSilence - 1)
				if synctest.Wait(); gone() {
					t.Fatalf("driven out after %v", time.Since(began))
				}
				time.Sleep(minSilence)
				if synctest.Wait(); !gone() {
					t.Errorf("keeps its place for %v", time.Since(began))
				}
			})
		})
	}
}
