// Package config reads the classic mmm_*.conf files of MySQL MMM 2.2 into one typed, validated Config.
//
// Four steps, each with a file of its own: classic.go parses text into a raw tree that knows file and line of every
// statement; merge.go joins the statements of all included files into one section per type and name, checking names
// against the table in rules.go; values.go turns texts into values of the kind the table says; config.go and
// validate.go make the Config and test what no single variable can show. Another syntax only has to deliver the same
// raw tree. load.go is the only file that touches the file system.
//
// A Config holds what one program reads: a variable that only the other programs read is checked for its name, and
// its value is left alone (configuration manual, docs/configuration.md).
//
// The package starts nothing, logs nothing, and does not look at the machine: whether an interface, a directory or a
// command exists is the business of the program that uses it.
package config
