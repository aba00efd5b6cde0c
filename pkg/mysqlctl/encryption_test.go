package mysqlctl

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// authority makes certificates for servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	fatal(t, err)
	cert, err := x509.ParseCertificate(der)
	fatal(t, err)
	return authority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// arguments make a server use a certificate of this authority.
func (a authority) arguments(t *testing.T) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	fatal(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	fatal(t, err)
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: der},
		"key": {Type: "PRIVATE KEY", Bytes: secret}} {
		fatal(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return []string{"--ssl-cert=" + dir + "/cert", "--ssl-key=" + dir + "/key"}
}

// TestEncryption: an account that requires encryption can log in with each mode that encrypts, and verify_ca refuses a
// certificate of another authority.
func TestEncryption(t *testing.T) { each(t, testEncryption) }

func testEncryption(t *testing.T, kind string) {
	ours, others := newAuthority(t), newAuthority(t)
	i := mysqltest.Start(t, mysqltest.Options{Server: kind, Args: ours.arguments(t)})
	cfg := account(i, "monitor", i.Kind.MonitorRights())
	i.Exec("ALTER USER monitor@'%' REQUIRE SSL")
	off := []string{"--skip-ssl"}
	if i.Kind.MySQL {
		off = []string{"--tls-version="}
	}
	plain := mysqltest.Start(t, mysqltest.Options{Server: kind, Args: off})
	cfgPlain := account(plain, "monitor", plain.Kind.MonitorRights())
	ctx := within(t, time.Minute)
	for _, tt := range []struct {
		cfg  Config
		how  Encryption
		want string // in the error; "" is none
	}{
		{cfg, Encryption{}, "Access denied"},
		{cfg, Encryption{Mode: SSLDisabled}, "Access denied"},
		{cfg, Encryption{Mode: SSLPreferred}, ""},
		{cfg, Encryption{Mode: SSLRequired}, ""},
		{cfg, Encryption{Mode: SSLVerifyCA, CA: ours.pem}, ""},
		{cfg, Encryption{Mode: SSLVerifyCA, CA: others.pem + ours.pem}, ""},
		{cfg, Encryption{Mode: SSLVerifyCA, CA: others.pem}, "x509: certificate signed by unknown authority"},
		{cfg, Encryption{Mode: SSLVerifyCA}, "there is no certificate of an authority"},
		{cfg, Encryption{Mode: "perhaps"}, "unknown way to encrypt: perhaps"},
		{cfgPlain, Encryption{Mode: SSLPreferred}, ""},
		{cfgPlain, Encryption{Mode: SSLRequired}, "server does not support TLS"},
		{cfgPlain, Encryption{Mode: SSLVerifyCA, CA: ours.pem}, "server does not support TLS"},
	} {
		tt.cfg.Encryption = tt.how
		s := New(tt.cfg)
		err := s.Ping(ctx)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s, %s: %v, want %q", tt.cfg.Addr, tt.how.Mode, err, tt.want)
		}
		s.Close()
	}

	// Records of TLS that carry no answer of the server don't end WaitBroken.
	cfg.Encryption.Mode = SSLRequired
	c := NewConn(cfg)
	defer c.Close()
	for range 3 {
		fatal(t, c.Ping(ctx))
		if err := c.WaitBroken(within(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("an intact connection: %v", err)
		}
	}
	id := i.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER='monitor'")
	i.Exec("KILL " + id)
	if err := c.WaitBroken(ctx); err != nil {
		t.Errorf("a killed one: %v", err)
	}
	fatal(t, c.Ping(ctx))

	i.Exec("ALTER USER monitor@'%' REQUIRE NONE", "SET GLOBAL require_secure_transport=1")
	cfg.Encryption = Encryption{}
	_, err := connect(ctx, cfg.withDefaults())
	mute := !i.Kind.MySQL && strings.Contains(fmt.Sprint(err), "Access denied") // an older MariaDB says no more
	if !mute && !strings.Contains(fmt.Sprint(err), "this mends it: mysql_ssl_mode required") {
		t.Errorf("where the server wants encryption: %v", err)
	}
}
