package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Source says where the configuration comes from. The zero Source is the classic lookup without a cluster name. A
// file's suffix tells its syntax: .hcl, or else the classic one.
type Source struct {
	Cluster string // CLUSTER of the argument @CLUSTER; part of the main file's name
	File    string // --config: the main file itself; Cluster and Dir then don't matter for it
	Dir     string // --config-dir: the only folder in which the main file is looked for
}

const classicSuffix = ".conf"

const (
	maxDepth = 16      // nested includes
	maxSize  = 1 << 20 // bytes of one file; real ones have some kilobytes
)

// Load finds the main file of a program, reads it with all it includes, and returns what the program needs. The error
// is always of type Errors and has everything that was found wrong.
func Load(p Program, src Source) (*Config, error) {
	return load(p, src, classicDirs())
}

func classicDirs() []string { return []string{"/etc", "/etc/mmm", "/etc/mysql-mmm"} }

func load(p Program, src Source, classic []string) (*Config, error) {
	l := &loader{dirs: classic}
	candidates, also := []string{src.File}, ""
	if src.Dir != "" {
		l.dirs = append([]string{src.Dir}, classic...)
	}
	if src.File == "" {
		dirs := classic
		if src.Dir != "" {
			dirs = []string{src.Dir}
		}
		var err error
		if candidates, err = mainFiles(p, src.Cluster, dirs); err != nil {
			return nil, err
		}
		also = fmt.Sprintf("; there is no %s nor %s there either", mainName(p, src.Cluster)+hclSuffix,
			commonName(src.Cluster))
	}
	l.beside = src.File != "" || src.Dir != ""

	f, err := open(candidates)
	if err != nil {
		return nil, Errors{{File: candidates[len(candidates)-1], Msg: err.Error() + also}}
	}
	file := f.Name()
	nodes := l.read(f, nil)
	c, errs := build(p, file, nodes, l.errs, !l.incomplete)
	if len(errs) > 0 {
		return nil, errs.sorted(l.files)
	}
	c.Warnings = c.Warnings.sorted(l.files)
	return c, nil
}

// build makes a Config of the statements of all files. Where some file could not be read, they are not complete, and
// are not validated: what seems to be missing may stand in that file.
func build(p Program, file string, nodes []node, errs Errors, complete bool) (*Config, Errors) {
	m := merge(p, pos{file: file, line: 1}, nodes)
	if complete {
		m.validate()
	}
	if errs = append(errs, m.errs...); len(errs) > 0 {
		return nil, errs
	}
	c := m.config(file)
	c.Warnings = m.warnings
	return c, nil
}

// mainName is a main file's name without its suffix.
func mainName(p Program, cluster string) string {
	name := "mmm_mon"
	if p == Agent {
		name = "mmm_agent"
	}
	return withCluster(name, cluster)
}

func withCluster(name, cluster string) string {
	if cluster != "" {
		name += "_" + cluster
	}
	return name
}

// commonName is the name of the HCL file for all programs. In one folder a file for one program goes before it.
func commonName(cluster string) string { return withCluster("mmm", cluster) + hclSuffix }

// mainFiles are the files that may be the main file, in the order in which they are tried. It is an error that there is
// both a classic and an HCL file: a file that somebody has forgotten must not decide which host is the writer.
func mainFiles(p Program, cluster string, dirs []string) ([]string, error) {
	name := mainName(p, cluster)
	var hcl []string
	for _, dir := range dirs {
		hcl = append(hcl, filepath.Join(dir, name+hclSuffix), filepath.Join(dir, commonName(cluster)))
	}
	classic := inDirs(name+classicSuffix, dirs)
	old, new := existing(classic), existing(hcl)
	switch {
	case new == "":
		return classic, nil
	case old == "":
		return hcl, nil
	}
	return nil,
		Errors{{File: new,
			Msg: fmt.Sprintf("%s is there too, and only one of them can count; remove %[1]s to go over to HCL (or empty it, where a package brings it back), or %s to stay with the classic file", old, new)}}
}

// existing is the first of the names that is a file with something in it.
func existing(names []string) string {
	for _, name := range names {
		if st, err := os.Stat(name); err == nil && !st.IsDir() && st.Size() > 0 {
			return name
		}
	}
	return ""
}

func inDirs(name string, dirs []string) []string {
	paths := make([]string, len(dirs))
	for i, dir := range dirs {
		paths[i] = filepath.Join(dir, name)
	}
	return paths
}

// open opens the first readable one of the files.
func open(candidates []string) (*os.File, error) {
	var reasons []string
	for _, name := range candidates {
		f, err := os.Open(name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				reasons = append(reasons, err.Error())
			}
			continue
		}
		if st, err := f.Stat(); err == nil && !st.IsDir() {
			return f, nil
		}
		_ = f.Close()
		reasons = append(reasons, "open "+name+": is a directory")
	}
	msg := "no readable configuration file; looked for " + strings.Join(candidates, ", ")
	if reasons != nil {
		msg += " (" + strings.Join(reasons, "; ") + ")"
	}
	return nil, errors.New(msg)
}

type loader struct {
	dirs       []string // where included files are looked for
	beside     bool     // the folder of the including file goes before dirs
	files      []string // in the order they were read
	errs       Errors
	incomplete bool // some file could not be read
}

// included is the chain of files being read, innermost first.
type included struct {
	name  string
	info  fs.FileInfo
	depth int
	by    *included
}

// read returns a file's statements with those of included files in place of the includes, and closes it.
func (l *loader) read(f *os.File, by *included) []node {
	defer func() { _ = f.Close() }()
	if !slices.Contains(l.files, f.Name()) {
		l.files = append(l.files, f.Name())
	}
	self := &included{name: f.Name(), depth: 1, by: by}
	if by != nil {
		self.depth = by.depth + 1
	}
	text, info, err := readTrusted(f)
	if err != nil {
		l.incomplete = true
		l.errs.add(pos{file: f.Name()}, "%v", err)
		return nil
	}
	self.info = info
	var nodes []node
	var errs Errors
	if notationOf(f.Name()) == hclNotation {
		nodes, errs = parseHCL(f.Name(), text)
		l.incomplete = l.incomplete || len(errs) > 0 // after an error this parser skips more than the classic one
	} else {
		nodes, errs = parse(f.Name(), text)
		if n, old := firstGeneration(nodes); old {
			l.incomplete = true
			l.errs.add(n.at, firstGenerationText, n.key, n.value)
			return nil
		}
	}
	l.errs = append(l.errs, errs...)
	return l.expand(nodes, self)
}

// expand puts the statements of included files in place of the includes. An include within a section is read at the top
// level, as in the original: the section is split around it.
func (l *loader) expand(nodes []node, self *included) []node {
	var out []node
	for _, n := range nodes {
		switch n.kind {
		case variableNode:
			out = append(out, n)
		case includeNode:
			out = append(out, l.include(n, self)...)
		case sectionNode:
			part := n
			part.body = nil
			for _, b := range n.body {
				if b.kind == includeNode {
					out = append(append(out, part), l.include(b, self)...)
					part.body = nil
					continue
				}
				part.body = append(part.body, b)
			}
			out = append(out, part)
		case commentNode: // means nothing
		}
	}
	return out
}

func (l *loader) include(n node, self *included) []node {
	if self.depth >= maxDepth {
		l.incomplete = true
		l.errs.add(n.at, "include %s: files are nested more than %d deep", n.value, maxDepth)
		return nil
	}
	name := n.value
	switch filepath.Ext(name) {
	case classicSuffix, hclSuffix: // either syntax can include the other
	default:
		name += map[notation]string{classicNotation: classicSuffix, hclNotation: hclSuffix}[n.at.notation()]
	}
	candidates := []string{name}
	if !filepath.IsAbs(name) {
		dirs := l.dirs
		if l.beside {
			dirs = append([]string{filepath.Dir(self.name)}, dirs...)
		}
		candidates = slices.Compact(inDirs(name, dirs)) // the two folders may be one
	}
	f, err := open(candidates)
	if err != nil {
		l.incomplete = true
		l.errs.add(n.at, "include %s: %v", n.value, err)
		return nil
	}
	if chain := self.cycle(f); chain != "" {
		_ = f.Close()
		l.errs.add(n.at, "include %s: the file includes itself: %s", n.value, chain)
		return nil
	}
	return l.read(f, self)
}

// cycle returns the chain of files from f to f where f is being read already, else "".
func (i *included) cycle(f *os.File) string {
	info, err := f.Stat()
	if err != nil {
		return "" // reading the file will report the error
	}
	chain := f.Name()
	for file := i; file != nil; file = file.by {
		chain = file.name + " -> " + chain
		if os.SameFile(file.info, info) {
			return chain
		}
	}
	return ""
}

// readTrusted reads a file that holds passwords. It is an error that others than its owner and group can read or write
// it.
func readTrusted(f *os.File) ([]byte, fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if mode := info.Mode().Perm(); mode&0o006 != 0 {
		what := "readable and writable"
		if mode&0o002 == 0 {
			what = "readable"
		} else if mode&0o004 == 0 {
			what = "writable"
		}
		return nil, nil, fmt.Errorf("mode %04o: the file is world-%s, and it holds passwords; run: chmod o-rwx %s",
			mode, what, shellWord(f.Name()))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > maxSize {
		return nil, nil, fmt.Errorf("larger than %d bytes: this is no configuration file", maxSize)
	}
	return text, info, nil
}

// shellWord quotes a file name for a command line where it needs that.
func shellWord(name string) string {
	if isWord(name, "/_-.") {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
