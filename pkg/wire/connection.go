package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// connection is an open connection to an agent.
type connection struct {
	conn net.Conn
	in   *bufio.Reader
	addr string
	seal *seal // nil: lines are not signed
	idle bool  // fit for another question; false where the last question got no answer
}

// open connects to the agent at addr. It does not send line. Where there is a secret, it says HELLO to the host that
// line is for. Its errors are ConnectErrors.
func (d Dialer) open(ctx context.Context, addr, line string) (*connection, error) {
	conn, err := d.connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := &connection{conn: conn, in: bufio.NewReader(conn), addr: addr}
	if len(d.Secret) == 0 {
		return c, nil
	}
	if err := c.hello(ctx, d.Secret, line); err != nil {
		c.end()
		return nil, &ConnectError{Addr: addr, Err: err}
	}
	return c, nil
}

// end closes the connection. A question that got no answer is taken back, as far as that is possible, by a reset.
// Otherwise the kernel would go on sending it, for minutes, and an order could arrive after newer ones.
func (c *connection) end() {
	if tcp, ok := beneath(c.conn).(*net.TCPConn); ok && !c.idle {
		_ = tcp.SetLinger(0) // where this fails, the connection is closed in the usual way
	}
	abort(c.conn)
}

// hello exchanges nonces with the agent, so that lines can be signed.
func (c *connection) hello(ctx context.Context, secret []byte, line string) error {
	ours := newNonce()
	answer, err := c.exchange(ctx, helloRequest(line, ours))
	if err != nil {
		return err
	}
	theirs, ok := parseHello(answer)
	if !ok {
		return &AuthError{Addr: c.addr, Answer: answer}
	}
	c.seal = newSeal(secret, theirs, ours)
	return nil
}

func (c *connection) ask(ctx context.Context, line string) (string, error) {
	if c.seal == nil {
		return c.exchange(ctx, line)
	}
	signed, err := c.exchange(ctx, c.seal.signRequest(line))
	if err != nil {
		return "", err
	}
	answer, ok := c.seal.openAnswer(signed)
	if !ok {
		return "", &AuthError{Addr: c.addr, Answer: signed}
	}
	return answer, nil
}

// exchange sends a line and reads one.
func (c *connection) exchange(ctx context.Context, line string) (string, error) {
	most := MaxAnswer
	if c.seal != nil {
		most += macSize
	}
	answer := ""
	err := converse(ctx, c.conn, c.addr, line+"\n", func() (err error) {
		answer, err = readAnswer(c.in, most)
		return err
	})
	// When ctx ends, the connection gets a deadline in the past, which spoils it, also just after the answer. And where
	// more than the answer came, the next question would get the wrong answer.
	c.idle = err == nil && ctx.Err() == nil && c.in.Buffered() == 0
	return answer, err
}

// readAnswer reads a line of at most so many bytes, without its newline.
func readAnswer(in *bufio.Reader, most int) (string, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case err == nil && len(text) <= most+1:
			return string(text[:len(text)-1]), nil
		case len(text) > most:
			return "", fmt.Errorf("answer is longer than %d bytes", most)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			err = fmt.Errorf("connection ended after %d bytes of an answer: %w", len(text), io.ErrUnexpectedEOF)
		}
		return "", err
	}
}

// converse sends a text, and has read take the answer. The end of ctx ends both, and the connection is of no use then.
func converse(ctx context.Context, conn net.Conn, addr, send string, read func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, send); err != nil {
		return fmt.Errorf("ask %s: send: %w", addr, cause(ctx, err))
	}
	if err := read(); err != nil {
		return fmt.Errorf("ask %s: read answer: %w", addr, cause(ctx, err))
	}
	return nil
}
