package mysqlctl

import "context"

// Conn is one kept connection to a server, for a check that asks again and again and wants to hear of its end at once.
// It belongs to one goroutine.
type Conn struct{}

// NewConn makes a Conn; it connects when it is first asked something.
func NewConn(cfg Config) *Conn { return &Conn{} }

// Close closes the connection.
func (c *Conn) Close() {}

// Ping runs a trivial query; where the kept connection is broken it connects anew, once.
func (c *Conn) Ping(ctx context.Context) error { return errUnfinished }

// Replica is as Server.Replica, with the kept connection as in Ping.
func (c *Conn) Replica(ctx context.Context) (Replica, error) { return Replica{}, errUnfinished }

// WaitBroken blocks while the connection is open and nothing comes from it. It returns nil as soon as the server has closed
// it, reset it or said something unasked (which is a farewell), at once where there is no connection, and ctx.Err() when ctx ends.
func (c *Conn) WaitBroken(ctx context.Context) error { return errUnfinished }
