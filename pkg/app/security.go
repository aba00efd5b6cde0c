package app

import (
	"crypto/tls"
	"net/netip"
	"reflect"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/wire"
)

// security is what `<socket> type ssl` makes of connections; the zero value leaves them plain.
type security struct {
	server, client *tls.Config
	digest         string // of the files, which can change while the configuration does not
}

// newSecurity reads the certificates that a configuration names.
func newSecurity(s config.Socket) (security, error) {
	if !s.SSL {
		return security{}, nil
	}
	client, err := wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile)
	if err != nil {
		return security{}, err
	}
	server, err := wire.ServerTLS(s.CertFile, s.KeyFile, s.CAFile)
	if err != nil {
		return security{}, err
	}
	return security{server: server, client: client, digest: wire.TLSDigest(s.CertFile, s.KeyFile, s.CAFile)}, nil
}

// reread reads the configuration again. Where neither it nor the certificates that it names have changed the error is
// daemon.ErrUnchanged.
func reread(read func() (*config.Config, error), old *config.Config, before security) (*config.Config, error) {
	c, err := read()
	if err != nil {
		return nil, err
	}
	s := c.Socket
	if reflect.DeepEqual(c, old) && (!s.SSL || wire.TLSDigest(s.CertFile, s.KeyFile, s.CAFile) == before.digest) {
		return nil, daemon.ErrUnchanged
	}
	return c, nil
}

// address is that of a port on which a program listens.
func address(ip netip.Addr, port int) string { return netip.AddrPortFrom(ip, uint16(port)).String() }
