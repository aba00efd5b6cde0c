package web

import (
	"net/http"

	"mysql-mmm/docs/api"
)

// route is a path, as http.ServeMux writes it, and what answers there.
type route struct {
	path    string
	handler http.Handler
}

// serve makes one handler of routes. HEAD is answered too.
func serve(routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle("GET "+r.path, r.handler)
	}
	return mux
}

// described gives one of the descriptions of what is served.
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

// schema gives a JSON Schema where monitor.openapi.json, which is /openapi.json here, looks for it.
func schema(w http.ResponseWriter, r *http.Request) {
	described("schema/"+r.PathValue("name"), "application/schema+json")(w, r)
}
