package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNotShown(t *testing.T) {
	const text = "pa55word"
	h := Host{AgentPassword: text, MonitorPassword: text, ReplicationPassword: text}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s"} {
		fmt.Fprintf(&out, verb+"\n", Secret(text))
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &Config{Hosts: []Host{h}})
	}
	fmt.Fprintln(&out, Secret(text).String(), Secret(text).GoString(), fmt.Errorf("log in with %v", Secret(text)))
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("host", "host", h, "password", Secret(text))
	}
	hex := fmt.Sprintf("%x", text)
	if shown := out.String(); strings.Contains(shown, text) || strings.Contains(strings.ToLower(shown), hex) ||
		!strings.Contains(shown, mask) {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	if fmt.Sprint(Secret("")) != mask {
		t.Error("an empty secret can be told from others")
	}
	if Secret(text).Reveal() != text {
		t.Error("Reveal does not reveal")
	}
}
