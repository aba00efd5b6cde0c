package web

import (
	"net/http"

	"mysql-mmm/docs/api"
)

// route is a pattern of http.ServeMux without its method, and the handler for it.
type route struct {
	path    string
	handler http.Handler
}

// serve makes one handler of routes, for GET and HEAD.
func serve(routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle("GET "+r.path, r.handler)
	}
	return mux
}

// described serves a file of docs/api, which describe the API.
func described(file, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, err := api.Files.ReadFile(file)
		if err != nil {
			http.Error(w, "There is no such description.", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(text)
	}
}

// schema serves a JSON Schema at the path by which monitor.openapi.json (served as /openapi.json) refers to it.
func schema(w http.ResponseWriter, r *http.Request) {
	described("schema/"+r.PathValue("name"), "application/schema+json")(w, r)
}
