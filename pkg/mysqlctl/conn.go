package mysqlctl

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// Conn is a connection to a server for a check that asks again and again. It is kept between the questions, so that
// WaitBroken hears of its end at once, or opened anew for each question (Config.Brief). It belongs to one goroutine.
type Conn struct {
	cfg  Config
	sess *session // nil where there is none

	greeted bool // the newest question opened a connection, and the server said something on it
}

// NewConn makes a Conn; it connects when it is first asked something.
func NewConn(cfg Config) *Conn { return &Conn{cfg: cfg.withDefaults()} }

// Channel returns the replication channel of the Config.
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
	// A server that shuts down may leave a last error packet in the socket, which would be taken for the answer.
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

// WaitBroken blocks while the kept connection is open and the server sends nothing on it. It returns nil as soon as the
// server has closed or reset the connection, or has sent something unasked (the error packet with which it says that it
// ends the connection), and ctx.Err() when ctx ends. Without a connection it returns nil at once; under Config.Brief,
// where there is none between questions, it waits for the end of ctx.
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
	// Only a read deadline in the past wakes the reader without closing the connection.
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = c.sess.socket.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed socket, which wakes the reader too
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
		_ = c.sess.socket.SetReadDeadline(time.Time{}) // fails only on a closed socket, which the next call finds
		return ctx.Err()
	}
	c.Close()
	return nil
}
