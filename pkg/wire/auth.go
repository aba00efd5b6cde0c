package wire

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Authentication with a shared secret ("agent_secret"), for those who have no certificates. A connection begins with HELLO and a
// nonce of the asker's, which is answered with a nonce of the agent's; both go into what is signed, so that neither side can be
// answered with what was recorded before. Every request then ends in mac=HMAC-SHA256(secret, nonce|q|line)
// (RFC 2104), and every answer has the like before its |UP: field, so that each side knows the other. A line that was forged, altered or
// recorded on another connection is refused. What is said can be read by anybody: that takes TLS.

// Hello begins a connection to an agent with a secret.
const Hello = "HELLO"

const (
	extNonce = "nonce"
	extMAC   = "mac"

	notAuthenticated = "ERROR: Not authenticated: agent_secret is set on this host, and the request has no valid signature"
)

// ErrForged says that an answer was not signed by somebody who knows the secret.
var ErrForged = errors.New("the answer has no valid signature: agent_secret differs between the hosts, or is not set on the other")

// sign is the signature of a line: kind is q for a request, a for an answer.
func sign(secret []byte, nonce, kind, line string) string {
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s|%s|%s", nonce, kind, line)
	return hex.EncodeToString(h.Sum(nil))
}

// guard stands before the handler on one connection.
type guard struct {
	secret  []byte
	nonce   string
	handler func(ctx context.Context, line string) (string, bool)
}

func (g *guard) handle(ctx context.Context, line string) (string, bool) {
	switch {
	case len(g.secret) == 0, strings.HasPrefix(line, "PING|"):
		return g.handler(ctx, line)
	case strings.HasPrefix(line, Hello+"|"):
		own := rand.Text()
		pairs, _ := parseExtras(strings.Split(line, "|"))
		g.nonce = own + "|" + pairs.get(extNonce)
		return "OK: Hello!|" + extra(extNonce, own) + "|UP:0.00", false
	}
	body, mac, signed := cutMAC(line)
	if !signed || g.nonce == "" || !hmac.Equal([]byte(mac), []byte(sign(g.secret, g.nonce, "q", body))) {
		return notAuthenticated + "|UP:0.00", false
	}
	nonce := g.nonce
	g.nonce = "" // once is enough: the same line again is a replay
	answer, done := g.handler(ctx, body)
	return signAnswer(g.secret, nonce, answer), done
}

// cutMAC splits a signed line.
func cutMAC(line string) (body, mac string, ok bool) {
	i := strings.LastIndex(line, "|"+extMAC+"=")
	if i < 0 {
		return line, "", false
	}
	return line[:i], line[i+len(extMAC)+2:], true
}

func signAnswer(secret []byte, nonce, answer string) string {
	mac := "|" + extra(extMAC, sign(secret, nonce, "a", answer))
	if i := strings.LastIndex(answer, "|UP:"); i >= 0 {
		return answer[:i] + mac + answer[i:]
	}
	return answer + mac
}

// checkAnswer takes the signature off an answer.
func checkAnswer(secret []byte, nonce, answer string) (string, error) {
	head, up := answer, ""
	if i := strings.LastIndex(answer, "|UP:"); i >= 0 {
		head, up = answer[:i], answer[i:]
	}
	body, mac, ok := cutMAC(head)
	if !ok || !hmac.Equal([]byte(mac), []byte(sign(secret, nonce, "a", body+up))) {
		return "", ErrForged
	}
	return body + up, nil
}

// askSigned says hello, then asks. The host's name for the hello is the request's own.
func askSigned(conn io.ReadWriter, secret []byte, line string) (string, error) {
	fields := strings.SplitN(line, "|", 4)
	if len(fields) < 3 {
		return "", errors.New("no request")
	}
	in := bufio.NewReader(io.LimitReader(conn, 2*MaxAnswer))
	own := rand.Text()
	if _, err := fmt.Fprintf(conn, "%s|%s|%s|%s\n", Hello, fields[1], fields[2], extra(extNonce, own)); err != nil {
		return "", err
	}
	text, err := readAnswer(in)
	if err != nil {
		return "", err
	}
	hello, err := ParseAnswer(text)
	if err != nil {
		return "", err
	}
	pairs, err := parseExtras(hello.Fields)
	nonce := pairs.get(extNonce)
	if err != nil || nonce == "" {
		return "", ErrForged
	}
	nonce += "|" + own
	if _, err := fmt.Fprintf(conn, "%s|%s\n", line, extra(extMAC, sign(secret, nonce, "q", line))); err != nil {
		return "", err
	}
	text, err = readAnswer(in)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(text, notAuthenticated) {
		return text, nil // what it says helps more than that it is not signed
	}
	return checkAnswer(secret, nonce, text)
}
