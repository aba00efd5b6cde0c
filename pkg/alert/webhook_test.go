package alert

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/event"
)

func TestWebhook(t *testing.T) {
	type request struct {
		body   []byte
		header http.Header
		path   string
	}
	var got request
	status := http.StatusNoContent
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = request{body, r.Header, r.URL.String()}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	w, err := NewWebhook(strings.Replace(s.URL, "http://", "http://user:qhdks-1@", 1)+"/hooks/qhdks-2?key=qhdks-3",
		"qhdks-4")
	if err != nil {
		t.Fatal(err)
	}
	m := Message{Alert: "x", Events: []event.Event{fatal("down")}, More: 1}
	if err := w.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var p posted
	if err := json.Unmarshal(got.body, &p); err != nil || p.Alert != "x" || p.Cluster != "c1" || p.More != 1 ||
		len(p.Events) != 1 || p.Events[0].Name != event.State || p.Text != m.Text() {
		t.Errorf("%v: %s", err, got.body)
	}
	if got.header.Get("Authorization") != "Bearer qhdks-4" || got.header.Get("Content-Type") != "application/json" ||
		got.path != "/hooks/qhdks-2?key=qhdks-3" {
		t.Errorf("%+v", got)
	}
	for code, final := range map[int]bool{http.StatusFound: true, http.StatusForbidden: true,
		http.StatusTooManyRequests: false, http.StatusBadGateway: false} {
		status = code
		err := w.Send(t.Context(), m)
		if err == nil || errors.Is(err, ErrRefused) != final {
			t.Errorf("%d: %v", code, err)
		}
		if got.path == "/elsewhere" {
			t.Error("followed a redirection")
		}
	}
	s.Close()
	err = w.Send(t.Context(), m)
	if err == nil || strings.Contains(err.Error()+w.String(), "qhdks") ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v, %s", err, w)
	}
}

// A server that accepts the connection and says nothing is waited for until the deadline. A server whose certificate is
// signed by no known authority gets nothing.
func TestBadWebhooks(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	w, err := NewWebhook(s.URL+"/qhdks", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Send(t.Context(), Message{}); err == nil || !strings.Contains(err.Error(), "certificate") ||
		strings.Contains(err.Error(), "qhdks") {
		t.Error(err)
	}
	w.client.Transport = s.Client().Transport
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := w.Send(ctx, Message{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
