package config

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// beside is the file that a variable names. A relative name is looked for in the folder of the configuration file that
// sets the variable.
func (n node) beside() string {
	if filepath.IsAbs(n.value) {
		return n.value
	}
	return filepath.Join(filepath.Dir(n.at.file), n.value)
}

// readCertificates gives the text of the file that a variable names.
func readCertificates(n node) (string, error) {
	name := n.beside()
	// First make sure that it is a file: opening a named pipe would wait until somebody writes into it.
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("names %s, which is no file", name)
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(name)
	}
	if err != nil {
		return "", fmt.Errorf("names a file that can't be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSize))
	if err != nil {
		return "", fmt.Errorf("names a file that can't be read: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return "", fmt.Errorf("names %s, which has no certificate (PEM, -----BEGIN CERTIFICATE-----)", name)
	}
	return string(text), nil
}
