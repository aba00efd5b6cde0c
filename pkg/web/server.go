package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/net/netutil"
)

// Limits of what clients may use, and times of the server.
const (
	maxConns     = 200
	maxHeader    = 8 << 10         // bytes
	readTimeout  = 5 * time.Second // for a whole request
	writeTimeout = 10 * time.Second
	idleTimeout  = 30 * time.Second
	retryListen  = 10 * time.Second // until Run tries again to listen
	goodbye      = time.Second      // for requests that are being answered when Run ends
)

// Server serves a handler on one address, as a task. If it can't listen on the address it logs that and tries again: it
// stops nothing else.
type Server struct {
	Addr    netip.AddrPort
	Handler http.Handler
	Log     *slog.Logger

	retry time.Duration // 0: retryListen
}

// String names the task.
func (s Server) String() string { return "HTTP on " + s.Addr.String() }

// Run serves until ctx ends. It always returns nil.
func (s Server) Run(ctx context.Context) error {
	retry, said := cmp.Or(s.retry, retryListen), false
	for {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !said {
			s.Log.Error(fmt.Sprintf("No HTTP on metrics_listen %s: everything else works, and listening is tried again "+
				"every %s", s.Addr, retry), "cause", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
	}
}

func (s Server) serve(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Addr.String())
	if err != nil {
		return err
	}
	s.Log.Info(fmt.Sprintf("HTTP on %s", listener.Addr()))
	server := &http.Server{
		Handler:           guard(s.Handler),
		ReadTimeout:       readTimeout,
		ReadHeaderTimeout: readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// strangers must not be able to fill our log
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		if server.Shutdown(last) != nil {
			server.Close()
		}
	}()
	err = server.Serve(netutil.LimitListener(listener, maxConns))
	if errors.Is(err, http.ErrServerClosed) {
		<-ended
		return nil
	}
	return err
}

// guard refuses requests that are not GET or HEAD, and sets headers by which browsers neither show our pages inside of
// other sites, nor load anything from other sites into our pages, nor keep answers.
func guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Only GET and HEAD are allowed here.", http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.NoBody
		head := w.Header()
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Cache-Control", "no-store")
		head.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'")
		head.Set("Referrer-Policy", "no-referrer")
		h.ServeHTTP(w, r)
	})
}

// healthy answers a health check with text: with status 200 if ok, else with 503.
func healthy(w http.ResponseWriter, ok bool, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, text)
}
