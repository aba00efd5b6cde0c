package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// ServerTLS is the configuration of a listener for `<socket> type ssl`: clients must show a certificate of the same authority.
func ServerTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	c, pool, err := identity(certFile, keyFile, caFile)
	if err != nil {
		return nil, err
	}
	c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
	return c, nil
}

// ClientTLS is the configuration of a client for `<socket> type ssl`. The server's certificate must come from the authority; the
// name in it is not looked at, because classic certificates are not made out to the addresses that MMM connects to.
func ClientTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	c, pool, err := identity(certFile, keyFile, caFile)
	if err != nil {
		return nil, err
	}
	c.InsecureSkipVerify = true // replaced by VerifyConnection: the chain is verified, the name is not
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the server shows no certificate")
		}
		between := x509.NewCertPool()
		for _, cert := range s.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
	return c, nil
}

func identity(certFile, keyFile, caFile string) (*tls.Config, *x509.CertPool, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("load certificate %s with key %s: %w", certFile, keyFile, err)
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, nil, fmt.Errorf("load authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, nil, fmt.Errorf("load authority %s: it holds no PEM certificate", caFile)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, pool, nil
}
