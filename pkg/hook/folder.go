package hook

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"mysql-mmm/pkg/event"
)

// folder is a folder whose programs are run on every event. It is read anew on every event, so that a program that is
// put there counts at once.
type folder struct {
	path string
	log  *slog.Logger
	said map[string]string // what was last logged about each file, by name; about the folder itself by ""
}

// hooks lists the programs in the folder, sorted by name. That a file can't be run is logged once.
func (f *folder) hooks() []Hook {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		f.say("",
			fmt.Sprintf("The programs in hook_dir can't be run: %v; make the folder readable, or take hook_dir out of the configuration", err))
		return nil
	}
	f.say("", "")
	var hooks []Hook
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(f.path, name)
		if e.IsDir() || strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue
		}
		why := ""
		if strings.Trim(name, letters) != "" {
			why = "names in hook_dir are made of letters, digits, _ and - only; rename it"
		} else if err := usable(path); err != nil {
			why = err.Error()
		}
		if why != "" {
			f.say(name, fmt.Sprintf("Hook %s is not run: %s", path, why))
			continue
		}
		f.say(name, "")
		hooks = append(hooks, Hook{Name: name, Path: path, Events: []event.Name{event.All}, Timeout: dirTimeout})
	}
	return hooks
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

func (f *folder) say(name, text string) {
	if f.said[name] == text {
		return
	}
	f.said[name] = text
	if text != "" {
		f.log.Error(text)
	}
}
