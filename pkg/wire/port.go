package wire

import (
	"crypto/tls"
	"fmt"
	"net"
)

// Port is an address that is listened on, and that a service which follows another in the same process can take over:
// who connects meanwhile waits, and is not refused.
type Port struct {
	addr string
	tcp  *net.TCPListener
}

// OpenPort listens on addr (IP:PORT), by taking over from old where that is the same; old may be nil. The old service
// may go on accepting until the new one does, and both close their own.
func OpenPort(addr string, old *Port) (*Port, error) {
	if old == nil || old.addr != addr {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, err
		}
		return &Port{addr, l.(*net.TCPListener)}, nil
	}
	f, err := old.tcp.File()
	if err != nil {
		return nil, fmt.Errorf("take over %s: %w", addr, err)
	}
	defer func() { _ = f.Close() }()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over %s: %w", addr, err)
	}
	return &Port{addr, l.(*net.TCPListener)}, nil
}

// Listener gives what to serve on; security may be nil.
func (p *Port) Listener(security *tls.Config) net.Listener {
	if security == nil {
		return p.tcp
	}
	return tls.NewListener(p.tcp, security)
}

// Close is for a port that is not served: Serve closes its own.
func (p *Port) Close() { _ = p.tcp.Close() }
