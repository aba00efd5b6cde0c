package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// fresh has an initialised data folder of each kind of server by its name. A program makes each folder only once, as
// that takes seconds. They are kept in memory, so that nothing is left on disk.
var fresh struct {
	sync.Mutex
	kinds map[string]folder
}

// Lay makes the data folder dir/data of a new server, whose user root needs no password on the Unix socket.
func (k Kind) Lay(ctx context.Context, dir string) error {
	fresh.Lock()
	defer fresh.Unlock()
	made, ok := fresh.kinds[k.Name]
	if !ok {
		var err error
		if made, err = k.shared(ctx, os.Getenv(sharedVariable)); err != nil {
			return fmt.Errorf("initialise a data folder of %s: %w", k, err)
		}
		if fresh.kinds == nil {
			fresh.kinds = make(map[string]folder)
		}
		fresh.kinds[k.Name] = made
	}
	return made.write(filepath.Join(dir, "data"))
}

// sharedVariable names a folder in which programs that run at the same time share the data folders that each would else
// make anew (test/e2e/run). "": nothing is shared.
const sharedVariable = "MMM_SHARED_DATA"

// shared returns an initialised data folder. Programs share it in the folder among: the first one makes it there,
// others wait for that and read it. Where among is "" this program makes one for itself.
func (k Kind) shared(ctx context.Context, among string) (folder, error) {
	if among == "" {
		dir, err := os.MkdirTemp("", "servers")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		return k.initialise(ctx, dir)
	}
	lock, err := os.OpenFile(filepath.Join(among, k.String()+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // which releases the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("wait for the program that makes it: %w", err)
	}
	whole, dir := filepath.Join(among, k.String()), filepath.Join(among, k.String()+".new")
	if _, err := os.Stat(whole); err == nil {
		return read(filepath.Join(whole, "data"))
	}
	if err := os.RemoveAll(dir); err != nil { // left by a program that ended before it was done
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	made, err := k.initialise(ctx, dir)
	if err != nil {
		return nil, err
	}
	return made, os.Rename(dir, whole)
}

// initialise makes an initialised data folder dir/data, and returns its content.
func (k Kind) initialise(ctx context.Context, dir string) (folder, error) {
	data := filepath.Join(dir, "data")
	cmd, err := k.initialiser(ctx, data, dir)
	if err != nil {
		return nil, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	// Without this file each server gives itself a UUID of its own when it starts.
	if err := os.Remove(filepath.Join(data, "auto.cnf")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return read(data)
}

// initialiser is the command that fills a data folder. No other process may use the folder tmp: temporary tables are
// named after the process's number, which a process in another namespace may have too.
func (k Kind) initialiser(ctx context.Context, data, tmp string) (*exec.Cmd, error) {
	if k.tree == "" {
		return exec.CommandContext(ctx, "mariadb-install-db", "--no-defaults", "--user=root",
			"--auth-root-authentication-method=normal",
			"--skip-test-db", "--datadir="+data, "--tmpdir="+tmp, "--innodb-log-file-size=8M",
			"--innodb-use-native-aio=0"), nil
	}
	argv, err := k.program()
	if err != nil {
		return nil, err
	}
	argv = append(argv, "--user=root", "--datadir="+data, "--tmpdir="+tmp, "--innodb-use-native-aio=0")
	if k.MySQL {
		argv = append(argv, "--initialize-insecure", "--secure-file-priv=NULL", "--innodb-redo-log-capacity=16M")
		return exec.CommandContext(ctx, argv[0], argv[1:]...), nil
	}
	// This is what mariadb-install-db does. That script can't be used here: it belongs to the installed version.
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	share, err := k.share()
	if err != nil {
		return nil, err
	}
	sql := bytes.NewBufferString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n")
	for _, name := range []string{"system_tables", "performance_tables", "system_tables_data"} {
		text, err := os.ReadFile(filepath.Join(share, filepath.Base(share)+"_"+name+".sql"))
		if err != nil {
			return nil, err
		}
		sql.Write(text)
	}
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], "--bootstrap", "--innodb-log-file-size=8M")...)
	cmd.Stdin = sql
	return cmd, nil
}

// folder is the files of a folder in memory, by their paths in the folder.
type folder map[string]file

// file is a file without its holes.
type file struct {
	size   int64
	blocks map[int64][]byte // by offset; those missing are zeros
}

// blockSize is small enough to skip most of the zeros, which new logs and tablespaces consist of.
const blockSize = 64 << 10

func read(dir string) (folder, error) {
	f := make(folder)
	return f, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f[name], err = readFile(filepath.Join(dir, name))
		return err
	})
}

func readFile(path string) (file, error) {
	in, err := os.Open(path)
	if err != nil {
		return file{}, err
	}
	defer in.Close()
	f := file{blocks: make(map[int64][]byte)}
	zeros := make([]byte, blockSize)
	for {
		block := make([]byte, blockSize)
		n, err := io.ReadFull(in, block)
		if !bytes.Equal(block[:n], zeros[:n]) {
			f.blocks[f.size] = block[:n]
		}
		f.size += int64(n)
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return f, nil
		default:
			return file{}, err
		}
	}
}

func (f folder) write(dir string) error {
	for name, content := range f {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := content.write(path); err != nil {
			return err
		}
	}
	return nil
}

func (f file) write(path string) (err error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for at, block := range f.blocks {
		if _, err := out.WriteAt(block, at); err != nil {
			return err
		}
	}
	return out.Truncate(f.size)
}
