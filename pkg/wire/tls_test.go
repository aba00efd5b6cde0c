package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a certificate authority whose files live in a folder of the test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // PEM of the authority itself
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.cert, a.key, a.file, _ = a.issue(t, name, template)
	return a
}

// issue makes a certificate from template, signed by the authority or, before there is one, by itself.
func (a *authority) issue(t *testing.T, name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey,
	string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, certFile, keyFile
}

// host gives the files of a certificate like the classic ones: without a purpose, and for a name that nobody connects
// to.
func (a *authority) host(t *testing.T, name string, until time.Time) (certFile, keyFile string) {
	t.Helper()
	_, _, certFile, keyFile = a.issue(t, name, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	})
	return certFile, keyFile
}

func TestMutualTLS(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	later, ago := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	identities := map[string]func() (string, string){
		"right":   func() (string, string) { return ours.host(t, "right", later) },
		"foreign": func() (string, string) { return others.host(t, "foreign", later) },
		"expired": func() (string, string) { return ours.host(t, "expired", ago) },
	}
	tests := []struct {
		server, client string
		version        uint16 // the client's highest; 0: any
		cause          string // part of the client's error; "" where it is answered
	}{
		{server: "right", client: "right"},
		{server: "right", client: "right", version: tls.VersionTLS12},
		{server: "right", client: "right", version: tls.VersionTLS11, cause: "protocol version"},
		{server: "right", client: "none", cause: "tls: "},
		{server: "right", client: "foreign", cause: "tls: "},
		{server: "right", client: "expired", cause: "tls: "},
		{server: "foreign", client: "right", cause: "unknown authority"},
		{server: "expired", client: "right", cause: "expired"},
	}
	for _, tt := range tests {
		t.Run(tt.server+" asked by "+tt.client, func(t *testing.T) {
			cert, key := identities[tt.server]()
			server, err := ServerTLS(cert, key, ours.file)
			if err != nil {
				t.Fatal(err)
			}
			identity := tt.client
			if identity == "none" {
				identity = "right"
			}
			cert, key = identities[identity]()
			client, err := ClientTLS(cert, key, ours.file)
			if err != nil {
				t.Fatal(err)
			}
			if tt.client == "none" {
				client.Certificates = nil
			}
			if tt.version != 0 {
				client.MinVersion, client.MaxVersion = min(tt.version, client.MinVersion), tt.version
			}
			addr := start(t, agentLike(), server)
			for range 2 { // twice: a TLS session that is resumed must be checked too
				got, err := Dialer{TLS: client}.Ask(within(t), addr, "x")
				switch {
				case tt.cause == "" && (err != nil || got != `OK: "x"`):
					t.Fatalf("%q, %v", got, err)
				case tt.cause != "" && (err == nil || !strings.Contains(err.Error(), tt.cause)):
					t.Fatalf("%q, %v; want an error with %q", got, err, tt.cause)
				}
			}
		})
	}
}

func TestPlainClientOfTLSServer(t *testing.T) {
	ours := newAuthority(t, "ours")
	cert, key := ours.host(t, "right", time.Now().Add(time.Hour))
	server, err := ServerTLS(cert, key, ours.file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (Dialer{}).Ask(within(t), start(t, agentLike(), server), "SET_STATUS|1|db1|ONLINE||"); err == nil {
		t.Errorf("answered with %q", got)
	}
}

// A client that begins no TLS handshake is given up like a client that says nothing.
func TestTLSHandshakeEnds(t *testing.T) {
	ours := newAuthority(t, "ours")
	cert, key := ours.host(t, "right", time.Now().Add(time.Hour))
	conf, err := ServerTLS(cert, key, ours.file)
	if err != nil {
		t.Fatal(err)
	}
	s := agentLike()
	s.FirstLineTimeout = 50 * time.Millisecond
	expectEnd(t, dial(t, start(t, s, conf)), "")

	s = agentLike()
	s.MaxConns = 1
	addr := start(t, s, conf)
	silent := dial(t, addr)
	client, err := ClientTLS(cert, key, ours.file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Dialer{TLS: client}).Ask(within(t), addr, "x"); err != nil {
		t.Errorf("beside a silent client: %v", err)
	}
	expectEnd(t, silent, "")
}

func TestControlOverTLS(t *testing.T) {
	ours := newAuthority(t, "ours")
	cert, key := ours.host(t, "right", time.Now().Add(time.Hour))
	server, err := ServerTLS(cert, key, ours.file)
	if err != nil {
		t.Fatal(err)
	}
	client, err := ClientTLS(cert, key, ours.file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Dialer{TLS: client}.Control(within(t), start(t, monitorLike(t), server), "ping")
	if err != nil || got != "OK: Pinged successfully!" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestConnectTimeoutCoversTheHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := Dialer{TLS: &tls.Config{InsecureSkipVerify: true}, ConnectTimeout: 50 * time.Millisecond}
	began := time.Now()
	if _, err := d.Ask(within(t), l.Addr().String(), "x"); err == nil || time.Since(began) > patience/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestTLSFiles(t *testing.T) {
	ours := newAuthority(t, "ours")
	cert, key := ours.host(t, "right", time.Now().Add(time.Hour))
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][3]string{
		{"missing", key, ours.file}, {cert, "missing", ours.file}, {cert, key, "missing"}, {cert, cert, ours.file},
		{cert, key, empty},
	} {
		if _, err := ClientTLS(files[0], files[1], files[2]); err == nil {
			t.Errorf("ClientTLS(%v): no error", files)
		}
		if _, err := ServerTLS(files[0], files[1], files[2]); err == nil {
			t.Errorf("ServerTLS(%v): no error", files)
		}
	}
}
