package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Dialer asks one thing on one connection: an original agent serves one connection at a time, so one that is kept open
// locks others out. The zero value speaks plain TCP.
type Dialer struct {
	TLS            *tls.Config   // nil: plain TCP; see ClientTLS
	Secret         []byte        // not empty: requests are signed with it, and answers have to be
	ConnectTimeout time.Duration // for connection and TLS handshake together; 0: only the context bounds them
}

// ConnectError says that nobody was asked: no connection, or no TLS session, came about.
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
	if err := checkLine(line); err != nil {
		return "", err
	}
	var answer string
	if len(d.Secret) > 0 {
		err := d.exchange(ctx, addr, "", func(c io.ReadWriter) (err error) {
			answer, err = askSigned(c, d.Secret, line)
			return err
		})
		return answer, err
	}
	err := d.exchange(ctx, addr, line+"\n", func(c io.ReadWriter) (err error) {
		answer, err = readAnswer(bufio.NewReader(io.LimitReader(c, MaxAnswer+1)))
		return err
	})
	return answer, err
}

// readAnswer reads one line, without its newline.
func readAnswer(in *bufio.Reader) (string, error) {
	text, err := in.ReadString('\n')
	switch {
	case err == io.EOF && len(text) > MaxAnswer:
		return "", fmt.Errorf("answer is longer than %d bytes", MaxAnswer)
	case err == io.EOF:
		return "", fmt.Errorf("connection ended after %d bytes of an answer: %w", len(text), io.ErrUnexpectedEOF)
	case err != nil:
		return "", err
	}
	return strings.TrimSuffix(text, "\n"), nil
}

// Control sends one command to the monitor at addr as mmm_control does (control manual, "Wire"): the line, then quit;
// everything up to the end of the connection is the answer. ctx must have a deadline; the connection has to come about
// within ConnectTimeout, or 10 s where that is 0. What was read until an error comes back with it.
func (d Dialer) Control(ctx context.Context, addr, line string) (string, error) {
	if err := checkLine(line); err != nil {
		return "", err
	}
	if d.ConnectTimeout == 0 {
		d.ConnectTimeout = controlConnectTimeout
	}
	var answer strings.Builder
	err := d.exchange(ctx, addr, line+"\nquit\n", func(r io.ReadWriter) error {
		n, err := io.Copy(&answer, io.LimitReader(r, maxControlAnswer+1))
		if err == nil && n > maxControlAnswer {
			return fmt.Errorf("answer is longer than %d bytes", maxControlAnswer)
		}
		return err
	})
	return answer.String(), err
}

// exchange connects, sends and lets read take the answer, all within ctx.
func (d Dialer) exchange(ctx context.Context, addr, send string, read func(io.ReadWriter) error) error {
	if _, ok := ctx.Deadline(); !ok {
		return fmt.Errorf("ask %s: the context has no deadline", addr)
	}
	conn, err := d.connect(ctx, addr)
	if err != nil {
		return &ConnectError{Addr: addr, Err: err}
	}
	defer conn.Close()
	// A time that is over ends the calls below.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, send); err != nil {
		return fmt.Errorf("ask %s: send: %w", addr, cause(ctx, err))
	}
	if err := read(conn); err != nil {
		return fmt.Errorf("ask %s: read answer: %w", addr, cause(ctx, err))
	}
	return nil
}

func (d Dialer) connect(ctx context.Context, addr string) (net.Conn, error) {
	if d.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.ConnectTimeout)
		defer cancel()
	}
	if d.TLS == nil {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}
	return (&tls.Dialer{Config: d.TLS}).DialContext(ctx, "tcp", addr)
}

// cause puts a context's end in the place of the timeout that it led to.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

func checkLine(line string) error {
	if strings.Contains(line, "\n") {
		return errors.New("a request must be one line")
	}
	if len(line) > MaxLine {
		return fmt.Errorf("request of %d bytes is longer than %d", len(line), MaxLine)
	}
	return nil
}
