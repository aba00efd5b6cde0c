// Package apitest checks, in tests, that documents are as package api describes them.
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

// root is the URL under which the schema library, which knows documents by URLs, finds the files of package api.
const root = "mem:///"

// loader reads the files of package api for the schema library.
type loader struct{}

func (loader) Load(url string) (any, error) {
	f, err := api.Files.Open(strings.TrimPrefix(url, root))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return jsonschema.UnmarshalJSON(f)
}

// Schema compiles the schema at a place in package api's files. at is a file, perhaps with a fragment:
// schema/show.json, monitor.openapi.json#/components/schemas/report. Formats, such as date-time, are checked too.
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

// Check fails the test if a JSON document does not fit the schema at at (see Schema). what names the document in the
// failure.
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

// Full fails the test if a field of value, from which a document was made, is zero: the document would not have that
// field, so it would not test the field's schema. Of a list, each field must be set in at least one element.
func Full(t testing.TB, value any) {
	t.Helper()
	for _, at := range empty(reflect.ValueOf(value), "") {
		t.Errorf("the example has no %s: add it, so that its schema is tested", at)
	}
}

// empty returns the JSON names of the fields that are zero in a value, or zero in all elements of a list in it. at is
// the path of v.
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

// least returns the fields that are missing in all of n elements; of tells what is missing in element i. Without
// elements the list itself, at, is missing.
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
