// Package apitest holds documents against their descriptions, in tests.
package apitest

import (
	"bytes"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"mysql-mmm/docs/api"
)

// root is where the files of package api are for the library, which knows documents by their URLs.
const root = "mem:///"

// loader reads the files that are installed.
type loader struct{}

func (loader) Load(url string) (any, error) {
	f, err := api.Files.Open(strings.TrimPrefix(url, root))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return jsonschema.UnmarshalJSON(f)
}

// Schema compiles the schema at a place in package api's files, which may have a fragment: schema/show.json,
// monitor.openapi.json#/components/schemas/report. Formats, such as date-time, count.
func Schema(t testing.TB, at string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.UseLoader(loader{})
	c.AssertFormat()
	schema, err := c.Compile(root + at)
	if err != nil {
		t.Fatalf("%s is no schema: %v", at, err)
	}
	return schema
}

// Check fails the test where a JSON document is not what the schema says. what names the document.
func Check(t testing.TB, at, what string, document []byte) {
	t.Helper()
	if err := fits(Schema(t, at), document); err != nil {
		t.Errorf("%s does not fit %s: %v\n%s", what, at, err, document)
	}
}

func fits(schema *jsonschema.Schema, document []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	return schema.Validate(value)
}

// Full fails the test where a field that could be in a document is not: then the document shows nothing about it.
// value is what the document was made of. Lists need one full element among them.
func Full(t testing.TB, value any) {
	t.Helper()
	for _, at := range empty(reflect.ValueOf(value), "") {
		t.Errorf("the example has no %s: add it, so that its schema is tested", at)
	}
}

// empty names the fields, as JSON does, that are zero in a value, or in all elements of its lists.
func empty(v reflect.Value, at string) []string {
	if v.IsZero() {
		return []string{at}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return empty(v.Elem(), at)
	case reflect.Struct:
		if v.Type().PkgPath() == "time" {
			return nil
		}
		var missing []string
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported():
			case f.Anonymous:
				missing = append(missing, empty(v.Field(i), at)...)
			default:
				missing = append(missing, empty(v.Field(i), path.Join(at, name))...)
			}
		}
		return missing
	case reflect.Slice:
		return least(v.Len(), func(i int) []string { return empty(v.Index(i), at) }, at)
	case reflect.Map:
		keys := v.MapKeys()
		return least(len(keys), func(i int) []string { return empty(v.MapIndex(keys[i]), at) }, at)
	default:
		return nil
	}
}

// least is what is missing in all of n elements; all of it where there is none.
func least(n int, of func(i int) []string, at string) []string {
	if n == 0 {
		return []string{at}
	}
	missing := of(0)
	for i := 1; i < n; i++ {
		here := of(i)
		missing = slices.DeleteFunc(missing, func(m string) bool { return !slices.Contains(here, m) })
	}
	return missing
}
