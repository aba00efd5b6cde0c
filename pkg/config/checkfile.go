package config

import "path/filepath"

// CheckFile tells what is wrong with a configuration file and the files that it includes. It checks them for each
// program that the file can be for: the agent where the file names the local host, the monitor and mmm_control where it
// has a section of the monitor, and the program after which the file is named. CheckFile returns these programs and the
// warnings. A file for no program is a part of a configuration: then nothing that is missing is reported. The error is
// of type Errors.
func CheckFile(file string) ([]Program, Errors, error) {
	l := &loader{dirs: classicDirs(), beside: true}
	f, err := open([]string{file})
	if err != nil {
		return nil, nil, Errors{{File: file, Msg: err.Error()}}
	}
	nodes := l.read(f, nil)
	var whole []Program
	var warnings Errors
	errs := l.errs
	for _, p := range []Program{Monitor, Agent, Control} {
		m := merge(p, pos{file: file, line: 1}, nodes)
		_, named := m.unique("").raw["this"]
		is := named && p == Agent || m.unique("monitor").seen && p != Agent || meant(file, p)
		if is {
			whole = append(whole, p)
		}
		if is && !l.incomplete {
			m.validate()
		}
		errs, warnings = append(errs, m.errs...), append(warnings, m.warnings...)
	}
	if len(errs) > 0 {
		return whole, nil, errs.sorted(l.files)
	}
	return whole, warnings.sorted(l.files), nil
}

// meant tells whether a file's name is that of a main file of the program.
func meant(file string, p Program) bool {
	base := filepath.Base(file)
	return base == mainName(p, "")+classicSuffix || base == mainName(p, "")+hclSuffix
}
