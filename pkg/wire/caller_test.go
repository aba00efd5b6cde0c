package wire

import (
	"context"
	"io"
	"net"
	"testing"
)

// TestCaller: a handler knows the address that its request came from, also on a port that listens for IPv6 as well.
func TestCaller(t *testing.T) {
	for _, c := range []struct{ network, listen, want string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"}, {"tcp", "[::]:0", "127.0.0.1"},
	} {
		l, err := net.Listen(c.network, c.listen)
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{Handler: func(ctx context.Context, _ string) (string, bool) { return Caller(ctx).String(), true }}
		go func() { _ = s.Serve(t.Context(), l) }()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp4", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "who am I\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); string(got) != c.want {
			t.Errorf("on %s it is %q, want %s (%v)", c.listen, got, c.want, err)
		}
		conn.Close()
	}
	if Caller(context.Background()).IsValid() {
		t.Error("nobody has called")
	}
}
