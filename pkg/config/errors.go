package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong in a configuration file, with the remedy where one is known. It never shows the
// value of a variable that holds a password.
type Error struct {
	File   string
	Line   int // from 1; 0 where the file as a whole is meant (it can't be found, opened or trusted)
	Column int // from 1; 0 in classic files, where a statement is a line
	Msg    string
}

// Error gives FILE:LINE: MSG, FILE:LINE:COLUMN: MSG, or FILE: MSG where the file as a whole is meant.
func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return e.File + ": " + e.Msg
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// Errors is everything found wrong, files in the order they were read and lines ascending. It is never empty where
// Load returns it.
type Errors []*Error

// Error gives one line for each error.
func (es Errors) Error() string { return strings.Join(es.Texts(), "\n") }

// Texts gives the lines of Error; none where there is nothing.
func (es Errors) Texts() []string {
	var lines []string
	for _, e := range es {
		lines = append(lines, e.Error())
	}
	return lines
}

// Unwrap lets errors.As find the single errors.
func (es Errors) Unwrap() []error {
	all := make([]error, len(es))
	for i, e := range es {
		all[i] = e
	}
	return all
}

func (es *Errors) add(at pos, format string, args ...any) {
	*es = append(*es, &Error{File: at.file, Line: at.line, Column: at.column, Msg: fmt.Sprintf(format, args...)})
}

// sorted orders by file (as in files), line and text, and drops repetitions: a file that is included twice is
// reported once.
func (es Errors) sorted(files []string) Errors {
	order := func(file string) int { return slices.Index(files, file) }
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(order(a.File), order(b.File)), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.CompactFunc(es, func(a, b *Error) bool { return *a == *b })
}

// hint gives "; did you mean 'x'?" where one of known is close to word, else "".
func hint(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return "; did you mean '" + near + "'?"
	}
	return ""
}

// nearest returns the word of known that is closest to word, "" where none is close. Up to a third of the letters may
// differ, and always one. Of equally close words the first wins. Case does not count.
func nearest(word string, known []string) string {
	best, bound := "", max(1, len(word)/3)+1
	for _, k := range known {
		if len(k)-len(word) >= bound || len(word)-len(k) >= bound {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < bound {
			best, bound = k, d
		}
	}
	return best
}

// distance is the edit distance in bytes where exchanging two neighbours counts as one edit (the restricted
// Damerau-Levenshtein distance): "pign_ips" is one edit away from "ping_ips".
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
