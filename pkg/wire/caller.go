package wire

import (
	"context"
	"net"
	"net/netip"
)

type callerKey struct{}

// Caller is the address that a request came from, by the context of its Handler; the zero Addr where that is not known.
func Caller(ctx context.Context) netip.Addr {
	ip, _ := ctx.Value(callerKey{}).(netip.Addr)
	return ip
}

// CalledFrom gives the context of requests that come over c.
func CalledFrom(ctx context.Context, c net.Conn) context.Context {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ctx // no address of the internet
	}
	return context.WithValue(ctx, callerKey{}, at.Addr().Unmap().WithZone(""))
}
