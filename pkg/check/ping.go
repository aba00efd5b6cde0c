package check

import (
	"context"
	"net/netip"
)

// Echoer sends one echo request and waits for its answer, for half a second or until ctx ends.
type Echoer interface {
	Ping(ctx context.Context, ip netip.Addr) error
}

// NewPing asks whether ip answers an echo request. To close the Probe does not close e.
func NewPing(e Echoer, ip netip.Addr) Probe { return pingProbe{e, ip} }

type pingProbe struct {
	echo Echoer
	ip   netip.Addr
}

func (p pingProbe) Probe(ctx context.Context) Result {
	if err := p.echo.Ping(ctx, p.ip); err != nil {
		return Result{Status: Error, Message: "ERROR: Could not ping " + p.ip.String(), Detail: oneLine(err.Error())}
	}
	return Result{Status: OK, Message: "OK"}
}

func (p pingProbe) Close() {}
