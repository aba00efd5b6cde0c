// Package config reads the classic mmm_*.conf files of MySQL MMM 2.2, and files in HCL that say the same, into one
// typed, validated Config (docs/configuration.md).
//
// There are four steps. classic.go or hcl.go parses text into a raw tree that knows file and line of every statement.
// merge.go joins the statements of all included files into one section per type and name, and checks names against the
// table in rules.go. values.go turns texts into values of the kind that the table says. config.go, validate.go and
// sense.go make the Config and test what no single variable can show. load.go finds and reads the configuration files;
// secretfile.go and certsfile.go read the files that variables name.
//
// A Config holds what one program reads: a variable that only the other programs read is checked for its name, and
// its value is left alone.
//
// The package starts nothing and logs nothing. It looks up host names (hostname.go), and otherwise does not look at the
// machine: whether an interface, a directory or a command exists is the business of the program that uses it.
package config
