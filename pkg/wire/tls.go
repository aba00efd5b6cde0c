package wire

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// ClientTLS makes the TLS configuration of the side that connects, where <socket> has type ssl (docs/configuration.md):
// cert and key identify us to the other side, ca is the file of the authorities that we trust, all PEM.
//
// The certificate of the other side must be valid and come from ca, but its host name is not looked at: classic
// certificates are not made out to addresses, and addresses are all that the configuration knows. Whoever holds any key
// certified by ca can therefore stand in for any host, so ca must be an authority that serves this cluster only.
func ClientTLS(cert, key, ca string) (*tls.Config, error) {
	pair, roots, err := load(cert, key, ca)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		// This leaves out the check of the chain together with the check of the name. VerifyConnection checks the
		// chain.
		InsecureSkipVerify: true,
		VerifyConnection:   func(state tls.ConnectionState) error { return verifyServer(state, roots) },
	}, nil
}

// ServerTLS makes the TLS configuration of the side that listens, for Port.Listener: a client needs a certificate that
// comes from ca.
func ServerTLS(cert, key, ca string) (*tls.Config, error) {
	pair, roots, err := load(cert, key, ca)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    roots,
	}, nil
}

// TLSDigest changes when the contents of the files change. It is "" where a file can't be read: ClientTLS and ServerTLS
// give the error then.
func TLSDigest(cert, key, ca string) string {
	h := sha256.New()
	for _, name := range []string{cert, key, ca} {
		text, err := os.ReadFile(name)
		if err != nil {
			return ""
		}
		fmt.Fprintf(h, "%q", text)
	}
	return string(h.Sum(nil))
}

func load(cert, key, ca string) (tls.Certificate, *x509.CertPool, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("load certificate %s with key %s: %w", cert, key, err)
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("load authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return tls.Certificate{}, nil, fmt.Errorf("load authorities: %s holds no certificate", ca)
	}
	return pair, roots, nil
}

func verifyServer(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}
