package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Logged returns what the server's binary log has from a place on (FILE:OFFSET), as it stands in the files.
func (s *Server) Logged(from string) ([]byte, error) {
	file, offset, ok := strings.Cut(from, ":")
	skip, err := strconv.Atoi(offset)
	if !ok || err != nil {
		return nil, fmt.Errorf("read the binary log from %q: want FILE:OFFSET", from)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "bin.0*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var all []byte
	for _, path := range files {
		name := filepath.Base(path)
		if name < file {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if name == file {
			content = content[min(skip, len(content)):]
		}
		all = append(all, content...)
	}
	return all, nil
}
