package bubble

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"
)

// disk keeps the state files of a machine's programs, with their last versions. Its methods are called with the world
// locked, but for write.
type disk struct {
	w     *World
	owner string
	dice  *dice
	files map[string][]string // the newest version last
	slow  time.Duration       // longest time that a write takes
	hangs time.Time           // until when nothing is written
	fails time.Time           // until when every write is an error
	loses bool                // it says at once that it has written, and writes later
	lands time.Time           // when the newest content of which it has said that will be written
}

func newDisk(w *World, owner string) *disk {
	return &disk{w: w, owner: owner, dice: newDice(w.Seed, "disk of "+owner), files: map[string][]string{},
		slow: 20 * time.Millisecond}
}

// rollBack forgets the newest n versions of a file, as if a backup were restored; all where it has no more.
func (d *disk) rollBack(path string, n int) {
	v := d.files[path]
	d.files[path] = v[:max(len(v)-n, 0)]
}

// spoil damages a file: it is empty, or a part of it is left, with or without bytes that are no text, or it is that of
// another cluster.
func (d *disk) spoil(path string, how *dice) {
	v := d.files[path]
	if len(v) == 0 {
		return
	}
	text := v[len(v)-1]
	part := text[:how.n(len(text)+1)]
	d.files[path] = append(v, pick(how, "", part, part+"\x00\xff", strings.ReplaceAll(text, "db", "elsewhere")))
}

// filesOf is the disk as one life of a program sees it.
type filesOf struct {
	d *disk
	p *process
}

// ReadFile reads a whole file. Reading finds what is in memory, also where the disk hangs.
func (f filesOf) ReadFile(path string) ([]byte, error) {
	if err := f.p.pass(); err != nil {
		return nil, err
	}
	f.d.w.mu.Lock()
	defer f.d.w.mu.Unlock()
	text := ""
	if v := f.d.files[path]; len(v) > 0 {
		text = v[len(v)-1]
	}
	if f.d.owner == monitorName && path == monitorState {
		text = f.d.w.Without.stored(text)
	}
	if text == "" && len(f.d.files[path]) == 0 {
		return nil, fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
	}
	return []byte(text), nil
}

// Replace writes a new version of a file, and returns when that is on disk; where the disk loses writes, before.
func (f filesOf) Replace(path string, content []byte) error {
	if err := f.p.pass(); err != nil {
		return err
	}
	d := f.d
	if d.loses {
		d.w.mu.Lock()
		defer d.w.mu.Unlock()
		if d.lands = d.lands.Add(1); d.lands.Before(time.Now()) {
			d.lands = time.Now()
		}
		d.lands = d.lands.Add(d.dice.between(0, d.slow))
		left := time.Until(d.lands)
		d.w.crowd.Go(func() {
			if f.p.sleep(f.p.ctx, left) == nil {
				d.write(path, string(content))
			}
		})
		return nil
	}
	d.w.mu.Lock()
	slow := d.slow
	d.w.mu.Unlock()
	if err := f.p.sleep(f.p.ctx, d.dice.between(time.Millisecond, slow)); err == errDead && d.dice.one(2) {
		d.write(path, string(content)) // the process died after the write had begun
		return err
	}
	for {
		d.w.mu.Lock()
		hangs, fails := time.Until(d.hangs), time.Until(d.fails) > 0
		d.w.mu.Unlock()
		if hangs > 0 {
			if err := f.p.sleep(f.p.ctx, hangs); err != nil && !f.p.alive() {
				return err
			} else if err != nil {
				return fmt.Errorf("write %s: %w", path, syscall.EIO)
			}
			continue
		}
		if fails {
			return fmt.Errorf("write %s: %w", path, syscall.ENOSPC)
		}
		break
	}
	if err := f.p.pass(); err != nil {
		return err
	}
	d.write(path, string(content))
	return nil
}

// Rename gives a file another name.
func (f filesOf) Rename(from, to string) error {
	if err := f.p.pass(); err != nil {
		return err
	}
	f.d.w.mu.Lock()
	defer f.d.w.mu.Unlock()
	v := f.d.files[from]
	if len(v) == 0 {
		return fmt.Errorf("rename %s: %w", from, fs.ErrNotExist)
	}
	f.d.files[to] = v
	delete(f.d.files, from)
	return nil
}

// write adds a version to a file. It locks the world itself.
func (d *disk) write(path, content string) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	v := d.files[path]
	if len(v) > 0 && v[len(v)-1] == content {
		return
	}
	if len(v) > 20 {
		v = v[1:]
	}
	d.files[path] = append(v, content)
	d.w.note(d.owner, "writes %s: %q", path, content)
}
