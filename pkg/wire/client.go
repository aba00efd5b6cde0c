package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Dialer asks each question on a connection of its own: an original agent serves one connection at a time, so that a
// connection that is kept open would lock others out. A Pool keeps connections to our agents. The zero value speaks
// plain TCP.
type Dialer struct {
	TLS            *tls.Config   // nil: plain TCP; see ClientTLS
	ConnectTimeout time.Duration // for connection and TLS handshake together; 0: only the context bounds them

	// Secret signs requests to agents, and only answers that are signed with it are believed (docs/configuration.md,
	// agent_secret); nil: nothing is signed. Control does not use it.
	Secret []byte
}

// ConnectError says that the request was not sent, since there was no connection, no TLS session, or no valid answer
// to HELLO.
type ConnectError struct {
	Addr string
	Err  error
}

func (e *ConnectError) Error() string { return "connect to " + e.Addr + ": " + e.Err.Error() }

func (e *ConnectError) Unwrap() error { return e.Err }

// Ask sends one line, given without its newline, to the agent at addr (host:port) and returns its answer, without the
// newline. ctx must have a deadline; it bounds everything. The error is a *ConnectError where nothing was sent; after
// any other error the agent may have done what it was asked. An answer that is too long or has no newline is an error.
func (d Dialer) Ask(ctx context.Context, addr, line string) (string, error) {
	if err := checkRequest(ctx, line); err != nil {
		return "", err
	}
	t, err := d.open(ctx, addr, line)
	if err != nil {
		return "", err
	}
	defer t.end()
	return t.ask(ctx, line)
}

// Control sends one command to the monitor at addr as mmm_control does (docs/protocol.md, "To the monitor"): the line,
// then quit; everything up to the end of the connection is the answer. ctx must have a deadline; the connection has to
// come about within ConnectTimeout, or 10 s where that is 0. With an error Control returns what it had read before.
func (d Dialer) Control(ctx context.Context, addr, line string) (string, error) {
	if err := checkRequest(ctx, line); err != nil {
		return "", err
	}
	if d.ConnectTimeout == 0 {
		d.ConnectTimeout = controlConnectTimeout
	}
	var answer strings.Builder
	conn, err := d.connect(ctx, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	err = converse(ctx, conn, addr, line+"\nquit\n", func() error {
		n, err := io.Copy(&answer, io.LimitReader(conn, maxControlAnswer+1))
		if err == nil && n > maxControlAnswer {
			return fmt.Errorf("answer is longer than %d bytes", maxControlAnswer)
		}
		return err
	})
	return answer.String(), err
}

// connect opens a connection. Its errors are ConnectErrors.
func (d Dialer) connect(ctx context.Context, addr string) (net.Conn, error) {
	if d.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.ConnectTimeout)
		defer cancel()
	}
	var conn net.Conn
	var err error
	if d.TLS == nil {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = (&tls.Dialer{Config: d.TLS}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, &ConnectError{Addr: addr, Err: err}
	}
	return conn, nil
}

// cause adds the error of ctx to the timeout that the end of ctx has led to, so that errors.Is finds it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

func checkRequest(ctx context.Context, line string) error {
	if _, ok := ctx.Deadline(); !ok {
		return errors.New("a request needs a context with a deadline")
	}
	if strings.Contains(line, "\n") {
		return errors.New("a request must be one line")
	}
	if len(line) > MaxLine {
		return fmt.Errorf("request of %d bytes is longer than %d", len(line), MaxLine)
	}
	return nil
}
