package mysqlctl

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// Conn is one kept connection to a server, for a check that asks again and again and wants to hear of its end at once;
// or one for each question (Config.Brief). It belongs to one goroutine.
type Conn struct {
	cfg  Config
	sess *session // nil where there is none

	greeted bool // the newest question opened a connection, and the server said something on it
}

// NewConn makes a Conn; it connects when it is first asked something.
func NewConn(cfg Config) *Conn { return &Conn{cfg: cfg.withDefaults()} }

// Channel is the replication channel of its Config.
func (c *Conn) Channel() string { return c.cfg.Channel }

// Greeted says whether the newest question opened a connection, and the server said something on it.
func (c *Conn) Greeted() bool { return c.greeted }

// Close closes the connection.
func (c *Conn) Close() {
	if c.sess != nil {
		c.sess.close()
		c.sess = nil
	}
}

// Ping runs a trivial query; where the kept connection is broken it connects anew, once.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.ask(ctx, flavour.ping)
	return err
}

// kept says whether the connection outlives a question.
func (c *Conn) kept() bool { return c.cfg.Brief == nil || !c.cfg.Brief() }

// Replica is as Server.Replica, with the kept connection as in Ping.
func (c *Conn) Replica(ctx context.Context) (Replica, error) {
	rows, err := c.ask(ctx, func(f flavour) statement { return f.showReplica(c.cfg.Channel) })
	return readReplica(c.cfg, rows, err)
}

func (c *Conn) ask(ctx context.Context, build func(flavour) statement) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	defer func() {
		if !c.kept() {
			c.Close()
		}
	}()
	c.greeted = false
	// A server that shuts down may leave a farewell in the socket, which would be taken for the answer.
	if c.sess != nil && !c.sess.alive(ctx) {
		c.Close()
	}
	if c.sess != nil {
		rows, err := c.sess.ask(ctx, build)
		if c.sess.powerless || !c.sess.conn.IsValid() {
			c.Close()
		}
		if !lost(err) || ctx.Err() != nil {
			return rows, err
		}
		c.Close()
	}
	sess, err := connect(ctx, c.cfg)
	if failed, ok := errors.AsType[*ConnectError](err); ok {
		c.greeted = failed.Greeted
	}
	if err != nil {
		return nil, err
	}
	c.greeted = true
	c.sess = sess
	rows, err := sess.ask(ctx, build)
	if sess.powerless || !sess.conn.IsValid() {
		c.Close()
	}
	return rows, err
}

// WaitBroken blocks while the connection is open and nothing comes from it. It returns nil as soon as the server has
// closed it, reset it or said something unasked (which is a farewell), at once where there is no connection though it
// is kept, and ctx.Err() when ctx ends.
func (c *Conn) WaitBroken(ctx context.Context) error {
	if c.sess == nil && !c.kept() {
		<-ctx.Done()
		return ctx.Err()
	}
	if c.sess == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, err := c.sess.socket.(*net.TCPConn).SyscallConn()
	if err != nil {
		c.Close()
		return nil
	}
	// A deadline in the past is the only thing that wakes a reader without harm to the connection.
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = c.sess.socket.SetReadDeadline(time.Unix(1, 0)) // fails only where the socket is closed, which wakes too
	})
	peeked := raw.Read(func(fd uintptr) (done bool) {
		for {
			_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			if !errors.Is(err, syscall.EINTR) {
				return !errors.Is(err, syscall.EAGAIN)
			}
		}
	})
	if !stop() {
		<-woken
	}
	if peeked != nil && ctx.Err() != nil {
		_ = c.sess.socket.SetReadDeadline(time.Time{}) // fails only where the next call finds the socket closed
		return ctx.Err()
	}
	c.Close()
	return nil
}
