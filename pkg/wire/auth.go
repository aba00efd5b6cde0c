package wire

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Authentication with a shared secret (docs/configuration.md, agent_secret), for clusters without certificates:
//
//	> HELLO|1|db1|nonce=C           C, and S below: 16 random bytes in hex, new for every connection
//	< OK: Hello!|nonce=S
//	> REQUEST|mac=M                 M: HMAC-SHA256 (RFC 2104) of SC|1|q|REQUEST with the secret, in hex
//	< ANSWER|mac=M|UP:SECONDS       M: the same of SC|1|a|ANSWER|UP:SECONDS
//
// The 1 is the number of the request on the connection; the next request and its answer have 2. S keeps old requests
// from being accepted again, and C old answers. The number keeps lines in their order. q and a keep a request from
// being taken for an answer. The host in every request keeps a request from being carried to another agent. All nonces
// have the same length and alphabet, and each side refuses any other: so a signed text can be taken apart in one way
// only, and nobody can have a line of his own signed as a part of a nonce. Nothing is encrypted: that takes TLS.

// Hello opens a connection whose lines are signed. Only agents with a secret know it.
const Hello = "HELLO"

// notAuthenticated is what an agent with a secret answers to a request without a valid signature.
const notAuthenticated = "Not authenticated: agent_secret is set on this host and the request has no valid signature"

const (
	helloText = "OK: Hello!"
	extNonce  = "nonce"
	macKey    = "|mac="
	nonceSize = 16                          // bytes
	macSize   = len(macKey) + 2*sha256.Size // what a signature adds to a line
)

// AuthError says that a client with a secret got an answer without a valid signature: the agent has no secret or
// another one, or this was an answer to another request.
type AuthError struct {
	Addr   string
	Answer string // not to be trusted; for people
}

func (e *AuthError) Error() string {
	return fmt.Sprintf("%s gave an answer without a valid signature: is agent_secret set there, and the same? %q",
		e.Addr, abbreviate(e.Answer))
}

// seal signs and checks the lines of one connection, on either side of it.
type seal struct {
	secret []byte
	nonce  string
	count  uint64 // requests so far
}

// newNonce gives nonceSize random bytes, in hex, which nobody has used before.
func newNonce() string {
	var b [nonceSize]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return hex.EncodeToString(b[:])
}

func newSeal(secret []byte, server, client string) *seal {
	return &seal{secret: secret, nonce: server + client}
}

func (s *seal) mac(direction, text string) string {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(s.nonce + "|" + strconv.FormatUint(s.count, 10) + "|" + direction + "|" + text))
	return hex.EncodeToString(h.Sum(nil))
}

// signRequest counts a request and gives it its signature.
func (s *seal) signRequest(line string) string {
	s.count++
	return line + macKey + s.mac("q", line)
}

// openRequest takes the signature off a request. A request with a wrong signature, or with none, is not counted.
func (s *seal) openRequest(signed string) (line string, ok bool) {
	at := strings.LastIndex(signed, macKey)
	if at < 0 {
		return "", false
	}
	line = signed[:at]
	s.count++
	if !equal(signed[at+len(macKey):], s.mac("q", line)) {
		s.count--
		return "", false
	}
	return line, true
}

// signAnswer signs the answer to the newest request. The signature is the last field before the uptime, and covers the
// uptime too.
func (s *seal) signAnswer(answer string) string {
	at := answerEnd(answer)
	return answer[:at] + macKey + s.mac("a", answer) + answer[at:]
}

// openAnswer takes the signature off the answer to the newest request.
func (s *seal) openAnswer(signed string) (answer string, ok bool) {
	end := answerEnd(signed)
	at := strings.LastIndex(signed[:end], macKey)
	if at < 0 {
		return "", false
	}
	answer = signed[:at] + signed[end:]
	return answer, equal(signed[at+len(macKey):end], s.mac("a", answer))
}

// answerEnd is where the fields of an answer end: before its uptime, if it has one.
func answerEnd(answer string) int {
	if at := strings.LastIndex(answer, "|UP:"); at >= 0 {
		return at
	}
	return len(answer)
}

// equal takes the same time wherever the difference is, so that nobody can guess a signature piece by piece.
func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// helloRequest is the HELLO to the host that line is for.
func helloRequest(line, nonce string) string {
	host := ""
	if r, err := ParseRequest(line); err == nil {
		host = r.Host
	}
	return NewRequest(Hello, host, extra(extNonce, nonce)).String()
}

// acceptHello answers a HELLO. It reports false where line is no HELLO, or has no valid nonce.
func acceptHello(secret []byte, line string) (s *seal, answer string, ok bool) {
	r, err := ParseRequest(line)
	if err != nil || r.Command != Hello {
		return nil, "", false
	}
	theirs, ok := nonceOf(r.Params)
	if !ok {
		return nil, "", false
	}
	ours := newNonce()
	return newSeal(secret, ours, theirs), helloText + "|" + extra(extNonce, ours), true
}

// parseHello gives the server's nonce from its answer to HELLO.
func parseHello(answer string) (nonce string, ok bool) {
	fields := strings.Split(answer, "|")
	nonce, ok = nonceOf(fields[1:])
	return nonce, ok && fields[0] == helloText
}

func nonceOf(fields []string) (nonce string, ok bool) {
	pairs, err := parseExtras(fields)
	nonce = pairs.get(extNonce)
	_, notHex := hex.DecodeString(nonce)
	return nonce, err == nil && notHex == nil && len(nonce) == 2*nonceSize
}
