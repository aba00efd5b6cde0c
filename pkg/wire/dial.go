package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Dialer asks agents and monitors. An original agent serves one connection at a time, so each question has its own.
type Dialer struct {
	TLS            *tls.Config   // nil: plain text
	ConnectTimeout time.Duration // 0: only the context bounds it
}

func (d Dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	n := net.Dialer{Timeout: d.ConnectTimeout}
	if d.TLS == nil {
		return n.DialContext(ctx, "tcp", addr)
	}
	if d.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.ConnectTimeout)
		defer cancel()
	}
	return (&tls.Dialer{NetDialer: &n, Config: d.TLS}).DialContext(ctx, "tcp", addr)
}

// exchange sends text on a connection of its own and reads the answer with read. The end of ctx ends it at once.
func (d Dialer) exchange(ctx context.Context, addr, text string, read func(io.Reader) (string, error)) (string, error) {
	conn, err := d.dial(ctx, addr)
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w", addr, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", fmt.Errorf("send to %s: %w", addr, cause(ctx, err))
	}
	answer, err := read(conn)
	if err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", addr, cause(ctx, err))
	}
	return answer, nil
}

// cause prefers the end of the context over the I/O error that it led to.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Ask sends one line to an agent and returns its one line. An answer that is cut off or longer than MaxAnswer is an error.
func (d Dialer) Ask(ctx context.Context, addr, line string) (string, error) {
	return d.exchange(ctx, addr, line+"\n", func(r io.Reader) (string, error) {
		lines := bufio.NewReaderSize(io.LimitReader(r, MaxAnswer+1), 4096)
		answer, err := lines.ReadString('\n')
		switch {
		case err == nil:
			return answer[:len(answer)-1], nil
		case errors.Is(err, io.EOF) && len(answer) > MaxAnswer:
			return "", errors.New("it is too long")
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF
		}
		return "", err
	})
}

// Control sends one command to a monitor and returns all that it answers until it closes (control manual, "Wire").
func (d Dialer) Control(ctx context.Context, addr, line string) (string, error) {
	d.ConnectTimeout = controlConnectTimeout
	return d.exchange(ctx, addr, line+"\nquit\n", func(r io.Reader) (string, error) {
		answer, err := io.ReadAll(io.LimitReader(r, maxControlAnswer))
		return string(answer), err
	})
}
