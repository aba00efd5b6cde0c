package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestTLS: with <socket> type ssl the cluster and mmm_control work, and a client without a certificate gets no answer.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "host", ca, caKey)
	path := func(name string) string { return filepath.Join(dir, name) }
	b := start(t, lab.Options{Common: "<socket>\n type ssl\n cert_file " + path("host.crt") +
		"\n key_file " + path("host.key") + "\n ca_file " + path("ca.crt") + "\n</socket>"})
	l := b.load()
	if out, status := b.control("move_role writer db2"); status != 0 {
		t.Fatal(out)
	}
	b.must(l.WaitServer(b.ctx, 2))
	b.must(b.WaitWhole(b.ctx))

	raw, err := b.Client.Dial(b.ctx, b.Node("db1").IP.String()+":9989")
	b.must(err)
	defer raw.Close()
	b.must(raw.SetDeadline(time.Now().Add(10 * time.Second)))
	stranger := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // this client has no certificate
	_, err = stranger.Write([]byte("GET_AGENT_STATUS|1|db1\n"))
	if err == nil {
		_, err = stranger.Read(make([]byte, 100)) // in TLS 1.3 a client is refused only after its handshake
	}
	if err == nil {
		t.Error("a client without a certificate gets an answer")
	}
	b.balance(l)
}

// certificate makes a certificate and its key and writes them to NAME.crt and NAME.key. It is signed by parent with the
// key signer; without a parent it is a CA that signs itself. It is valid for an hour.
func certificate(t *testing.T, dir, name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate,
	*ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name +
		".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}
