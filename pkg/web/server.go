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

// What a client may cost.
const (
	maxConns     = 200
	maxHeader    = 8 << 10
	readTimeout  = 5 * time.Second // of a whole request
	writeTimeout = 10 * time.Second
	idleTimeout  = 30 * time.Second
	retryListen  = 10 * time.Second
	goodbye      = time.Second // for answers that are on their way at the end
)

// Server serves a handler on one address, as a task. An address that can't be had is logged and tried again: it stops
// nothing else.
type Server struct {
	Addr    netip.AddrPort
	Handler http.Handler
	Log     *slog.Logger

	retry time.Duration // 0: retryListen
}

// String names the task.
func (s Server) String() string { return "HTTP on " + s.Addr.String() }

// Run serves until ctx ends. It never fails.
func (s Server) Run(ctx context.Context) error {
	retry, said := cmp.Or(s.retry, retryListen), false
	for {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !said {
			s.Log.Error(fmt.Sprintf("No HTTP on metrics_listen %s; everything else goes on, and it is tried again every %s", s.Addr, retry), "cause", err)
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
		// strangers don't write into our log
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

// guard lets in what only reads, and nothing that a browser was tricked into asking for another site.
func guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "This only reads.", http.StatusMethodNotAllowed)
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

// healthy answers 200 with what is well, or 503 with what is not.
func healthy(w http.ResponseWriter, ok bool, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, text)
}
