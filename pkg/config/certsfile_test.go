package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// certificate writes a file with a made-up certificate.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return file
}

// What is in the file becomes part of the Config, so that a reload sees another certificate in the same file.
func TestCertificatesOfServers(t *testing.T) {
	file := certificate(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	write(t, dir+"/key.pem", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
	write(t, dir+"/f.conf", edit{15: "agent_password a\nmysql_ssl_mode verify_ca\nmysql_ca_file ca.pem"}.apply())
	for _, p := range []Program{Agent, Monitor} {
		if h := mustLoad(t, p, Source{File: dir + "/f.conf"}).Hosts[0]; h.MySQLSSLMode != "verify_ca" ||
			h.MySQLCA != string(text) {
			t.Errorf("%v: %q, %q", p, h.MySQLSSLMode, h.MySQLCA)
		}
	}
	mustLoad(t, Control, Source{File: dir + "/f.conf"})
	for lines, want := range map[string]string{
		"mysql_ssl_mode verify_ca":                         "<host db1> lacks 'mysql_ca_file', which mmm_agentd needs where 'mysql_ssl_mode' is verify_ca",
		"mysql_ssl_mode on":                                "16: 'mysql_ssl_mode' must be disabled, preferred, required or verify_ca, not \"on\"",
		"mysql_ssl_mode verify_ca\nmysql_ca_file gone.pem": "17: 'mysql_ca_file' names a file that can't be read: stat " + dir + "/gone.pem: no such file or directory",
		"mysql_ssl_mode verify_ca\nmysql_ca_file .":        "17: 'mysql_ca_file' names " + dir + ", which is no file",
		"mysql_ssl_mode verify_ca\nmysql_ca_file key.pem": "17: 'mysql_ca_file' names " + dir +
			"/key.pem, which has no certificate (PEM, -----BEGIN CERTIFICATE-----)",
	} {
		write(t, dir+"/f.conf", edit{15: "agent_password a\n" + lines}.apply())
		if _, err := load(Agent, Source{File: dir + "/f.conf"}, nil); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s:\n%v\nwant\n%s", lines, err, want)
		}
	}
}
