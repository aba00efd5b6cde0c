package wire

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A thousand clients that say nothing do not disturb a client that works.
func TestSilentCrowd(t *testing.T) {
	s := agentLike()
	addr := start(t, s, nil)
	worker := dial(t, addr)
	in := bufio.NewReader(worker)
	for range 1000 {
		dial(t, addr)
		// The worker keeps its place: it is never the longest idle one.
		send(t, worker, "x\n")
		readLine(t, in)
	}
	began := time.Now()
	for range 20 {
		if _, err := (Dialer{}).Ask(within(t), addr, "PING|1|db1"); err != nil {
			t.Fatal(err)
		}
	}
	if each := time.Since(began) / 20; each > 50*time.Millisecond {
		t.Errorf("a request takes %v", each)
	}
}

func TestFullTableEndsTheLongestIdle(t *testing.T) {
	s := agentLike()
	s.MaxConns = 2
	addr := start(t, s, nil)
	first, second := dial(t, addr), dial(t, addr)
	for _, c := range []net.Conn{first, second, first} { // second is idle for longer now
		send(t, c, "x\n")
		readLine(t, bufio.NewReader(c))
	}
	third := dial(t, addr)
	expectEnd(t, second, "")
	for _, c := range []net.Conn{first, third} {
		send(t, c, "x\n")
		readLine(t, bufio.NewReader(c))
	}
}

// Running requests are never cut off; a newcomer waits for one of them to end.
func TestFullTableOfRunningRequests(t *testing.T) {
	entered, release := make(chan string, 10), make(chan struct{})
	s := &Server{MaxConns: 2, Terminator: "\n", Handler: func(_ context.Context, line string) (string, bool) {
		entered <- line
		<-release
		return line, false
	}}
	addr := start(t, s, nil)
	busy := []net.Conn{dial(t, addr), dial(t, addr)}
	for _, c := range busy {
		send(t, c, "busy\n")
		<-entered
	}
	late := dial(t, addr)
	send(t, late, "late\n")
	var once sync.Once
	let := func() { once.Do(func() { close(release) }) }
	defer let()
	select {
	case line := <-entered:
		t.Fatalf("%q got in while the table was full", line)
	case <-time.After(50 * time.Millisecond): // that nothing happens can only be seen by waiting
	}
	let()
	if got := readLine(t, bufio.NewReader(late)); got != "late\n" {
		t.Errorf("got %q", got)
	}
}

// A client that never reads its answers is given up, and holds up nobody else meanwhile.
func TestSlowReader(t *testing.T) {
	big := strings.Repeat("x", 16<<20) // more than the kernel buffers
	s := &Server{WriteTimeout: 500 * time.Millisecond, Terminator: "\n",
		Handler: func(_ context.Context, line string) (string, bool) {
			if line == "big" {
				return big, false
			}
			return line, false
		}}
	addr := start(t, s, nil)
	slow := dial(t, addr)
	send(t, slow, "big\n")
	if _, err := (Dialer{}).Ask(within(t), addr, "x"); err != nil {
		t.Fatal(err)
	}
	// Reads begin only when the server has given up; the answer is cut short.
	one := make([]byte, 1)
	if _, err := slow.Read(one); err != nil {
		t.Fatal(err)
	}
	<-time.After(1500 * time.Millisecond) // the client is slow
	if n, _ := io.Copy(io.Discard, slow); n >= int64(len(big)) {
		t.Errorf("a client that reads nothing for three write timeouts got all of %d bytes", n)
	}
}

// A thousand clients that misbehave in several ways do not disturb a client that works.
func TestHostileCrowd(t *testing.T) {
	addr := start(t, agentLike(), nil)
	nuisances := []func(c *net.TCPConn) error{
		func(*net.TCPConn) error { return nil },                                // silent
		func(c *net.TCPConn) error { return c.CloseWrite() },                   // half-open
		func(c *net.TCPConn) error { return write(c, "SET_STATUS|1|db1|ONL") }, // half a line
		// overlong, without an end
		func(c *net.TCPConn) error { return write(c, strings.Repeat("x", 3*MaxLine)) },
		func(c *net.TCPConn) error { return write(c, "\x16\x03\x01\x02\x00\x01\x00\xfc\n\x00\xff") }, // binary
		// reset at the end
		func(c *net.TCPConn) error { return c.SetLinger(0) },
	}
	const crowd = 1000
	conns, failed := make(chan *net.TCPConn, crowd), make(chan error, crowd)
	var dialing sync.WaitGroup
	begin := make(chan struct{})
	for i := range crowd {
		dialing.Go(func() {
			<-begin
			c, err := net.DialTimeout("tcp", addr, patience)
			if err != nil {
				failed <- err
				return
			}
			conns <- c.(*net.TCPConn)
			// The server may have closed it by now, to make room.
			_ = nuisances[i%len(nuisances)](c.(*net.TCPConn))
		})
	}
	close(begin)
	var took []time.Duration
	for range 100 {
		began := time.Now()
		got, err := Dialer{}.Ask(within(t), addr, "PING|1|db1")
		if err != nil || got != `OK: "PING|1|db1"` {
			t.Errorf("%q, %v", got, err)
		}
		took = append(took, time.Since(began))
	}
	dialing.Wait()
	close(conns)
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	for c := range conns {
		c.Close()
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median > 100*time.Millisecond {
		t.Errorf("the median request takes %v, the longest %v", median, took[len(took)-1])
	}
}

func write(c net.Conn, text string) error {
	_, err := io.WriteString(c, text)
	return err
}
