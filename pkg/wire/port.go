package wire

import (
	"crypto/tls"
	"fmt"
	"net"
)

// Port is an address that is listened on. A service that follows another in the same process can take the port over: a
// client that connects between the two waits, and is not refused.
type Port struct {
	addr string
	tcp  *net.TCPListener
}

// OpenPort listens on addr (IP:PORT). Where old has the same address, OpenPort takes over from it; old may be nil. The
// old service may go on accepting until the new one does, and each of the two closes its own Port.
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

// Listener gives the listener for Serve, with TLS where security is not nil.
func (p *Port) Listener(security *tls.Config) net.Listener {
	if security == nil {
		return p.tcp
	}
	return tls.NewListener(p.tcp, security)
}

// Close closes a port that is not served. Serve closes its listener itself.
func (p *Port) Close() { _ = p.tcp.Close() }
