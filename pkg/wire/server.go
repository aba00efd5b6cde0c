package wire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Server answers lines: on an agent's port (a newline after each answer) and on a monitor's control port (nothing
// between answers, the connection ends at quit). No client can keep others from being served: each connection has a
// goroutine and deadlines of its own, and the longest idle one is closed to make room for a new one. A line counts only
// with its newline: half a SET_STATUS can look like a whole one that takes all roles away.
//
// Set the fields before Serve and leave them alone afterwards.
type Server struct {
	// Handler answers one line, given without its newline; everything else is left in, also a carriage return. done
	// ends the connection after the answer. Handler is called from many goroutines at once. Its context comes from that
	// of Serve, and Caller can read it. Handler must return when the context ends.
	Handler func(ctx context.Context, line string) (answer string, done bool)

	// Secret makes this the port of an agent that answers only requests that are signed with it (docs/configuration.md,
	// agent_secret). Only PING is answered without a signature. nil: signatures are not looked at.
	Secret []byte

	// Refuse makes the answer to a line that Handler does not get: it is longer than MaxLine, or lacks a valid
	// signature. nil: the answer is "ERROR: " and why.
	Refuse func(why string) string

	Terminator string // follows every answer
	MaxLine    int    // bytes of a line without its newline and signature; 0: the constant MaxLine
	MaxConns   int    // 0: 512
	// from accepting a connection to the end of its first line, TLS handshake included; 0: 10 s
	FirstLineTimeout time.Duration
	IdleTimeout      time.Duration // from an answer to the end of the next line; 0: 60 s
	WriteTimeout     time.Duration // for one answer; 0: 10 s
	Log              *slog.Logger  // nil: nothing is logged
}

const (
	// lingerTimeout is how long a client may go on sending after the last answer, see linger.
	lingerTimeout = time.Second
	// acceptPause is the pause after a connection could not be accepted, for example for lack of file descriptors.
	acceptPause = 100 * time.Millisecond
)

// withDefaults fills in what is zero.
func (s Server) withDefaults() Server {
	if s.Refuse == nil {
		s.Refuse = func(why string) string { return "ERROR: " + why }
	}
	if s.MaxLine == 0 {
		s.MaxLine = MaxLine
	}
	if s.MaxConns == 0 {
		s.MaxConns = 512
	}
	if s.FirstLineTimeout == 0 {
		s.FirstLineTimeout = 10 * time.Second
	}
	if s.IdleTimeout == 0 {
		s.IdleTimeout = 60 * time.Second
	}
	if s.WriteTimeout == 0 {
		s.WriteTimeout = 10 * time.Second
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Serve accepts connections until ctx ends, then closes l and the idle connections, lets running handlers give their
// answers, and returns nil when all are gone. It returns early, with an error, only where somebody else closed l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := s.withDefaults()
	table := newConnTable(srv.MaxConns)
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		<-ctx.Done()
		l.Close()
		table.close()
	})
	err := srv.accept(ctx, l, table, &running)
	cancel()
	running.Wait()
	return err
}

func (s *Server) accept(ctx context.Context, l net.Listener, table *connTable, running *sync.WaitGroup) error {
	failing := false
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			if !failing {
				s.Log.Warn("Can't accept connections", "address", l.Addr(), "cause", err)
			}
			failing = true
			table.evict()
			pause(ctx, acceptPause)
			continue
		}
		failing = false
		c := &conn{Conn: nc}
		if !table.add(ctx, c) {
			nc.Close()
			return nil
		}
		running.Go(func() {
			defer table.remove(c)
			s.serveConn(ctx, c, table)
		})
	}
}

// serveConn answers the lines of one connection until one side ends it.
func (s *Server) serveConn(ctx context.Context, c *conn, table *connTable) {
	ctx = CalledFrom(ctx, c)
	longest := s.MaxLine
	if len(s.Secret) > 0 {
		longest += macSize
	}
	in := bufio.NewReaderSize(c, longest+1)
	var seal *seal // nil until the client has said HELLO
	wait := s.FirstLineTimeout
	for {
		// Both directions: a TLS handshake, done by the first read, writes as well.
		if c.SetDeadline(time.Now().Add(wait)) != nil {
			return
		}
		line, err := in.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !tooLong {
			return
		}
		if !table.handling(c) {
			return // c was closed, to make room or at the end: nobody would read the answer
		}
		var answer string
		var done, known bool
		switch {
		case tooLong:
			answer = s.Refuse("Line too long")
		case len(s.Secret) == 0:
			answer, done = s.Handler(ctx, string(line[:len(line)-1]))
			known = true
		default:
			seal, answer, done, known = s.guarded(ctx, seal, string(line[:len(line)-1]))
		}
		table.answering(c, known)
		if !s.answer(c, answer, done) {
			return
		}
		table.waiting(c)
		if done {
			linger(c, in)
			return
		}
		// The client has its answer already. The rest of its line must not be taken for the next line.
		if tooLong && !discardLine(in) {
			return
		}
		wait = s.IdleTimeout
	}
}

// guarded answers a line where there is a secret. old is the seal that is in use, now the seal for the next line: a
// HELLO gives a new one. known tells whether the line was signed.
func (s *Server) guarded(ctx context.Context, old *seal, line string) (now *seal, answer string, done, known bool) {
	if fresh, hello, ok := acceptHello(s.Secret, line); ok {
		return fresh, hello, false, false
	}
	if old != nil {
		if plain, ok := old.openRequest(line); ok {
			answer, done = s.Handler(ctx, plain)
			return old, old.signAnswer(answer), done, true
		}
	}
	if r, err := ParseRequest(line); err == nil && r.Command == Ping {
		answer, done = s.Handler(ctx, line)
		return old, answer, done, false
	}
	return old, s.Refuse(notAuthenticated), false, false
}

func (s *Server) answer(c *conn, text string, done bool) bool {
	if !done {
		text += s.Terminator
	}
	if text == "" {
		return true
	}
	if c.SetWriteDeadline(time.Now().Add(s.WriteTimeout)) != nil {
		return false
	}
	_, err := io.WriteString(c, text)
	return err == nil
}

// discardLine reads to the end of the line, within the deadline that was set when the line began.
func discardLine(in *bufio.Reader) bool {
	for {
		switch _, err := in.ReadSlice('\n'); {
		case err == nil:
			return true
		case !errors.Is(err, bufio.ErrBufferFull):
			return false
		}
	}
}

// linger ends our half of the connection and waits a little for the client to end its half. Closing a connection with
// unread data, or into which data still come, would reset it, and the client would lose answers that it has not read
// yet (as RFC 9112, section 9.6, says of HTTP).
func linger(c *conn, in *bufio.Reader) {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTimeout)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, in)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
