// Package api describes what programs get from mysql-mmm: the HTTP of monitor and agents (OpenAPI 3.1), and the JSON of
// mmm_control (JSON Schema 2020-12). Tests compare real answers with these descriptions: a field that is not described
// fails a test.
package api

import "embed"

// Files are the descriptions: monitor.openapi.json, agent.openapi.json, and schema/NAME.json, to which
// monitor.openapi.json refers.
//
//go:embed *.json schema/*.json
var Files embed.FS
