package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	defaultIdle  = 10 * time.Second // for a line to arrive
	defaultWrite = 5 * time.Second
	defaultConns = 512
)

// Server answers lines: of monitors on an agent's port, of mmm_control on a monitor's. Whatever connects and says nothing, says
// rubbish, or comes a thousand times costs a bounded amount and delays nobody else.
type Server struct {
	Handler func(ctx context.Context, line string) (answer string) // called concurrently
	End     string                                                 // after each answer: "\n" for an agent, "" for a monitor
	Quit    string                                                 // line that ends a connection, "" for none
	TooLong func() string                                          // answer to a line over MaxLine; then the connection is closed
	TLS     *tls.Config
	Idle    time.Duration // how long a line may take to arrive; 0: 10 s
	Conns   int           // connections at once; 0: 512. One more, and the one that has said nothing for longest is closed
}

// client is one connection; since is when it began to be silent, and zero while it is being answered.
type client struct {
	conn  net.Conn
	since time.Time
}

// serving is the state of one Serve.
type serving struct {
	Server
	mu      sync.Mutex
	clients map[*client]bool
}

// Serve answers until ctx ends, then closes all connections and returns when the last handler has.
func (s Server) Serve(ctx context.Context, l net.Listener) error {
	if s.Idle == 0 {
		s.Idle = defaultIdle
	}
	if s.Conns == 0 {
		s.Conns = defaultConns
	}
	ctx, cancel := context.WithCancel(ctx)
	v := &serving{Server: s, clients: map[*client]bool{}}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close(); v.closeAll() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // out of file descriptors, most likely: it will pass
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if s.TLS != nil {
			conn = tls.Server(conn, s.TLS)
		}
		c := v.add(conn)
		all.Go(func() {
			defer v.remove(c)
			v.talk(ctx, c)
		})
		if ctx.Err() != nil {
			v.closeAll()
		}
	}
}

// add makes room where all places are taken.
func (v *serving) add(conn net.Conn) *client {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := &client{conn: conn, since: time.Now()}
	if len(v.clients) >= v.Conns {
		var longest *client
		for o := range v.clients {
			if !o.since.IsZero() && (longest == nil || o.since.Before(longest.since)) {
				longest = o
			}
		}
		if longest != nil {
			longest.conn.Close()
			delete(v.clients, longest)
		}
	}
	v.clients[c] = true
	return c
}

func (v *serving) remove(c *client) {
	c.conn.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.clients, c)
}

func (v *serving) closeAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.clients {
		c.conn.Close()
	}
}

func (v *serving) busy(c *client, yes bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.since = time.Now()
	if yes {
		c.since = time.Time{}
	}
}

// talk answers line by line. The deadline for a line is set once for it, so that a trickle of bytes does not extend it.
func (v *serving) talk(ctx context.Context, c *client) {
	lines := bufio.NewReaderSize(c.conn, 1024)
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(v.Idle))
		line, err := readLine(lines)
		if errors.Is(err, errTooLong) {
			v.write(c, v.TooLong())
			return
		}
		if err != nil || v.Quit != "" && line == v.Quit {
			return
		}
		v.busy(c, true)
		answer := v.Handler(ctx, line)
		v.busy(c, false)
		if ctx.Err() != nil || v.write(c, answer) != nil {
			return
		}
	}
}

func (v *serving) write(c *client, answer string) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(defaultWrite))
	_, err := io.WriteString(c.conn, answer+v.End)
	return err
}

var errTooLong = errors.New("line too long")

func readLine(r *bufio.Reader) (string, error) {
	var line strings.Builder
	for {
		part, err := r.ReadSlice('\n')
		if line.Len()+len(part) > MaxLine+1 {
			return "", errTooLong
		}
		line.Write(part)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(line.String(), "\n"), nil
	}
}
