package wire

import (
	"context"
	"net"
	"net/netip"
)

type callerKey struct{}

// Caller is the address that a request came from, given the context of its Handler; the zero Addr where the address is
// not known.
func Caller(ctx context.Context) netip.Addr {
	ip, _ := ctx.Value(callerKey{}).(netip.Addr)
	return ip
}

// CalledFrom gives a context for requests that come over c, from which Caller reads the address.
func CalledFrom(ctx context.Context, c net.Conn) context.Context {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ctx // no IP address, such as a connection of a test
	}
	return context.WithValue(ctx, callerKey{}, at.Addr().Unmap().WithZone(""))
}
