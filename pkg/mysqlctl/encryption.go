package mysqlctl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/go-sql-driver/mysql"
)

// SSLMode says whether connections are encrypted, in the words of MySQL's own clients ("--ssl-mode" in the MySQL
// manual).
type SSLMode string

// The modes. Names in certificates are not compared with anything: hosts are known by their addresses.
const (
	SSLDisabled  SSLMode = "disabled"
	SSLPreferred SSLMode = "preferred" // where the server offers it
	SSLRequired  SSLMode = "required"
	SSLVerifyCA  SSLMode = "verify_ca" // encrypted, and one of the authorities in CA signed the server's certificate
)

// Encryption is how connections to a server are protected. The zero value is SSLDisabled.
type Encryption struct {
	Mode SSLMode
	CA   string // certificates of authorities, PEM; for SSLVerifyCA
}

func (e Encryption) apply(d *mysql.Config) error {
	switch e.Mode {
	case "", SSLDisabled:
	case SSLPreferred, SSLRequired:
		d.TLS = &tls.Config{InsecureSkipVerify: true}
		d.AllowFallbackToPlaintext = e.Mode == SSLPreferred
	case SSLVerifyCA:
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM([]byte(e.CA)) {
			return errors.New("there is no certificate of an authority to verify the server's certificate with")
		}
		// crypto/tls would also compare the name in the certificate, and hosts are known by their addresses: so its own
		// verification is off, and this one looks at the authority alone.
		d.TLS = &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			others := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				others.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: authorities, Intermediates: others})
			return err
		}}
	default:
		return errors.New("unknown way to encrypt: " + string(e.Mode))
	}
	return nil
}
