package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// fileSuffix ends the name of a variable of secretFileKind; before it stands the name of the secret.
const fileSuffix = "_file"

// readSecret gives the first line of the file that a variable names. An error shows the name only where there is such a
// file: a name of no file may be the password itself, in the wrong place.
func readSecret(n node) (Secret, error) {
	name := n.beside()
	// First make sure that it is a file: opening a named pipe would wait until somebody writes into it.
	info, err := os.Stat(name)
	if err != nil {
		if reason, ok := errors.AsType[*fs.PathError](err); ok {
			err = reason.Err
		}
		return "", fmt.Errorf("names a file that can't be found: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("names %s, which is no file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("names a file that can't be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, _, err := readTrusted(f)
	if err != nil {
		return "", fmt.Errorf("names %s: %w", name, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.Trim(line, blanks); line == "" {
		return "", fmt.Errorf("names %s, whose first line is empty; write the secret there", name)
	}
	if strings.ContainsRune(line, 0) {
		return "", fmt.Errorf("names %s, which is no text", name)
	}
	return Secret(line), nil
}
