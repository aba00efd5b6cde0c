package wire

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	testSecret = "the same on both sides"
	refusal    = "ERROR: " + notAuthenticated
)

// pair gives both ends of a connection.
func pair(client, server string) (asker, agent *seal) {
	return newSeal([]byte(client), "aa", "bb"), newSeal([]byte(server), "aa", "bb")
}

// The signature itself is a contract between versions; the value was computed with openssl dgst -sha256 -hmac.
func TestSignature(t *testing.T) {
	asker, agent := pair("0123456789abcdef", "0123456789abcdef")
	const want = "PING|1|db1|mac=01211ed4a51b3469c62f1c1fb5a03887e670c01c32c97622fe42e38afbe1159e"
	if got := asker.signRequest("PING|1|db1"); got != want {
		t.Errorf("request %s, want %s", got, want)
	}
	if line, ok := agent.openRequest(want); line != "PING|1|db1" || !ok {
		t.Fatalf("request opened: %q, %v", line, ok)
	}
	const wantAnswer = "OK: Pinged!|mac=4ff03f4b0092a2c715a029d1d623655ae8b77d07311c2c5575c72069ab8b9329|UP:1.00"
	if got := agent.signAnswer("OK: Pinged!|UP:1.00"); got != wantAnswer {
		t.Errorf("answer %s, want %s", got, wantAnswer)
	}
}

func TestSealedLinesArrive(t *testing.T) {
	for _, line := range []string{"", "PING|1|db1", "SET_STATUS|1|db1|ONLINE|writer(10.0.0.1)|db1|v=1|epoch=7",
		"a|mac=b", "|UP:|mac="} {
		asker, agent := pair(testSecret, testSecret)
		for range 3 {
			if got, ok := agent.openRequest(asker.signRequest(line)); got != line || !ok {
				t.Errorf("request %q: %q, %v", line, got, ok)
			}
			for _, answer := range []string{line, line + "|UP:12.34", "OK|have=|UP:1|mac=x|UP:12.34"} {
				if got, ok := asker.openAnswer(agent.signAnswer(answer)); got != answer || !ok {
					t.Errorf("answer %q: %q, %v", answer, got, ok)
				}
			}
		}
	}
}

func TestForgedRequests(t *testing.T) {
	const order = "SET_STATUS|1|db1|ONLINE|writer(10.0.0.1)|db1|v=1|epoch=7"
	tests := map[string]func(asker *seal) string{
		"unsigned":        func(*seal) string { return order },
		"empty signature": func(*seal) string { return order + macKey },
		"made up":         func(*seal) string { return order + macKey + strings.Repeat("0", 64) },
		"altered epoch": func(a *seal) string {
			return strings.Replace(a.signRequest(order), "epoch=7", "epoch=8",
				1)
		},
		"another host": func(a *seal) string {
			return strings.Replace(a.signRequest(order), "db1|ONLINE",
				"db2|ONLINE", 1)
		},
		"another command": func(a *seal) string {
			return strings.Replace(a.signRequest(order), SetStatus,
				GetAgentStatus, 1)
		},
		"parameter added": func(a *seal) string {
			return strings.Replace(a.signRequest(order), macKey, "|to=db2"+
				macKey, 1)
		},
		"parameter appended": func(a *seal) string { return a.signRequest(order) + "|to=db2" },
		"cut short":          func(a *seal) string { s := a.signRequest(order); return s[:len(s)-1] },
		"out of order":       func(a *seal) string { a.signRequest("PING|1|db1"); return a.signRequest(order) },
		"an answer":          func(a *seal) string { a.count++; return a.signAnswer(order) },
		"another secret": func(a *seal) string {
			return (&seal{secret: []byte("another secret here"), nonce: a.nonce}).signRequest(order)
		},
		"no secret":          func(a *seal) string { return (&seal{nonce: a.nonce}).signRequest(order) },
		"another connection": func(a *seal) string { return newSeal(a.secret, "ab", "bb").signRequest(order) },
		"another client":     func(a *seal) string { return newSeal(a.secret, "aa", "bc").signRequest(order) },
	}
	for name, forge := range tests {
		asker, agent := pair(testSecret, testSecret)
		forged := forge(asker)
		if line, ok := agent.openRequest(forged); ok {
			t.Errorf("%s: %q was accepted as %q", name, forged, line)
		}
		fresh, _ := pair(testSecret, testSecret)
		if _, ok := agent.openRequest(fresh.signRequest(order)); !ok {
			t.Errorf("%s: the true request was refused afterwards", name)
		}
		asker, _ = pair(testSecret, testSecret)
		if _, ok := agent.openRequest(asker.signRequest(order)); ok {
			t.Errorf("%s: a repeated request was accepted", name)
		}
	}
}

func TestForgedAnswers(t *testing.T) {
	const answer = "OK: Status applied successfully!|v=1|have=|UP:5.00"
	tests := map[string]func(agent *seal) string{
		"unsigned":     func(*seal) string { return answer },
		"altered text": func(a *seal) string { return strings.Replace(a.signAnswer(answer), "OK", "KO", 1) },
		"altered field": func(a *seal) string {
			return strings.Replace(a.signAnswer(answer), "have=", "have=x",
				1)
		},
		"altered uptime":     func(a *seal) string { return strings.Replace(a.signAnswer(answer), "UP:5", "UP:6", 1) },
		"to another request": func(a *seal) string { a.count--; return a.signAnswer(answer) },
		"a request":          func(a *seal) string { a.count--; return a.signRequest(answer) },
		"another secret":     func(a *seal) string { a.secret = []byte("another"); return a.signAnswer(answer) },
		"another connection": func(a *seal) string { a.nonce = "abbb"; return a.signAnswer(answer) },
	}
	for name, forge := range tests {
		asker, agent := pair(testSecret, testSecret)
		agent.openRequest(asker.signRequest("x"))
		if got, ok := asker.openAnswer(forge(agent)); ok {
			t.Errorf("%s was accepted as %q", name, got)
		}
	}
}

// guardedAgent is an agent with a secret that notes what it is asked.
type guardedAgent struct {
	mu    sync.Mutex
	asked []string
}

func (a *guardedAgent) start(t *testing.T, secret string) (addr string) {
	s := &Server{Terminator: "\n", Secret: []byte(secret), Handler: func(_ context.Context, line string) (string,
		bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, line)
		return "OK: " + line + "|UP:1.00", false
	}}
	return start(t, s, nil)
}

func (a *guardedAgent) lines() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func TestSecretsOfBothSides(t *testing.T) {
	const line, answer = "GET_AGENT_STATUS|1|db1", "OK: GET_AGENT_STATUS|1|db1|UP:1.00"
	tests := []struct {
		name, client, server string
		want                 string // answer
		refused              bool   // an AuthError
		handled              bool
	}{
		{"none", "", "", answer, false, true},
		{"the same", testSecret, testSecret, answer, false, true},
		{"different", "something else, as long", testSecret, "", true, false},
		{"client's only", testSecret, "", "", true, false},
		{"server's only", "", testSecret, refusal, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			agent := &guardedAgent{}
			addr := agent.start(t, tt.server)
			d := Dialer{Secret: []byte(tt.client)}
			got, err := d.Ask(within(t), addr, line)
			_, refused := errors.AsType[*AuthError](err)
			if got != tt.want || refused != tt.refused || (err != nil) != tt.refused {
				t.Errorf("%q, %v", got, err)
			}
			if err != nil && (strings.Contains(err.Error(), testSecret) ||
				strings.Contains(err.Error(), "something else")) {
				t.Errorf("the error shows the secret: %v", err)
			}
			if handled := slices.Contains(agent.lines(), line); handled != tt.handled {
				t.Errorf("handled %v", agent.lines())
			}
		})
	}
}

// Where the agent does not say HELLO, the request is not even sent.
func TestNoHelloNoRequest(t *testing.T) {
	addr := raw(t, "ERROR: Invalid command 'HELLO'!|UP:1.00\n", true)
	_, err := Dialer{Secret: []byte(testSecret)}.Ask(within(t), addr, "x")
	if _, ok := errors.AsType[*ConnectError](err); !ok {
		t.Errorf("got %v, want a ConnectError", err)
	}
}

// Nonces of another length or alphabet are refused: otherwise the other side could be made to sign a line as a part of
// a nonce.
func TestOddNonces(t *testing.T) {
	good := newNonce()
	for _, nonce := range []string{"", good[1:], good + "0", "g" + good[1:], "|" + good[1:], good +
		"|1|q|CLEAR_BAD_ROLES|1|db1", strings.Repeat("|", 2*nonceSize)} {
		field := extra(extNonce, nonce)
		if _, answer, ok := acceptHello([]byte(testSecret), "HELLO|1|db1|"+field); ok {
			t.Errorf("an agent takes the nonce %q: %s", nonce, answer)
		}
		addr := raw(t, helloText+"|"+field+"\n", true)
		_, err := Dialer{Secret: []byte(testSecret)}.Ask(within(t), addr, "x")
		if _, refused := errors.AsType[*AuthError](err); !refused {
			t.Errorf("a client takes the nonce %q: %v", nonce, err)
		}
	}
	if _, _, ok := acceptHello([]byte(testSecret), "HELLO|1|db1|nonce="+good); !ok {
		t.Error("a good one is refused")
	}
}

func TestPingIsForEverybody(t *testing.T) {
	agent := &guardedAgent{}
	addr := agent.start(t, testSecret)
	if got, err := (Dialer{}).Ask(within(t), addr, "PING|1|db1"); err != nil || got != "OK: PING|1|db1|UP:1.00" {
		t.Errorf("%q, %v", got, err)
	}
	for _, line := range []string{"", "x", "PING", "PING|1", "PINGS|1|db1", "HELLO", "PING|1|db1\r|"} {
		got, err := Dialer{}.Ask(within(t), addr, line)
		if ping := strings.HasPrefix(line, "PING|1|"); err != nil || ping == (got == refusal) {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
}

// Lines that were recorded on one connection are refused on another one, and a second time on the same.
func TestReplayedLines(t *testing.T) {
	agent := &guardedAgent{}
	addr := agent.start(t, testSecret)
	conn := dial(t, addr)
	in := bufio.NewReader(conn)
	seal := hello(t, conn, in)
	signed := seal.signRequest("CLEAR_BAD_ROLES|1|db1") + "\n"
	send(t, conn, signed)
	if got, ok := seal.openAnswer(strings.TrimSuffix(readLine(t, in), "\n")); !ok ||
		got != "OK: CLEAR_BAD_ROLES|1|db1|UP:1.00" {
		t.Fatalf("got %q, %v", got, ok)
	}
	send(t, conn, signed)
	if got := readLine(t, in); got != refusal+"\n" {
		t.Errorf("again on the same connection: %q", got)
	}
	hello(t, conn, in)
	send(t, conn, signed)
	if got := readLine(t, in); got != refusal+"\n" {
		t.Errorf("after another HELLO: %q", got)
	}
	other := dial(t, addr)
	otherIn := bufio.NewReader(other)
	hello(t, other, otherIn)
	send(t, other, signed)
	if got := readLine(t, otherIn); got != refusal+"\n" {
		t.Errorf("on another connection: %q", got)
	}
	if got := agent.lines(); len(got) != 1 {
		t.Errorf("handled %q", got)
	}
}

// hello opens a connection by hand, always with the same nonce of the client.
func hello(t *testing.T, c net.Conn, in *bufio.Reader) *seal {
	t.Helper()
	ours := strings.Repeat("0", 2*nonceSize)
	send(t, c, helloRequest("PING|1|db1", ours)+"\n")
	theirs, ok := parseHello(strings.TrimSuffix(readLine(t, in), "\n"))
	if !ok {
		t.Fatal("no HELLO")
	}
	return newSeal([]byte(testSecret), theirs, ours)
}

// An agent without a secret leaves signatures alone: they are parameters that it does not know.
func TestSignatureWithoutSecret(t *testing.T) {
	asker, _ := pair(testSecret, testSecret)
	line := asker.signRequest("SET_STATUS|1|db1|ONLINE||db2")
	agent := &guardedAgent{}
	if got, err := (Dialer{}).Ask(within(t), agent.start(t, ""), line); err != nil || got != "OK: "+line+"|UP:1.00" {
		t.Errorf("%q, %v", got, err)
	}
	r, err := ParseRequest(line)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := ParseOrder(r); err != nil || o.Extended || o.Master != "db2" {
		t.Errorf("%+v, %v", o, err)
	}
}

// The signature does not count towards the longest request and answer. Longer ones are refused by the client, and
// longer requests by the server too.
func TestLongestSignedLines(t *testing.T) {
	answer := strings.Repeat("y", MaxAnswer)
	s := &Server{Terminator: "\n", Secret: []byte(testSecret),
		Handler: func(_ context.Context, line string) (string, bool) {
			if len(line) != MaxLine {
				return "", false
			}
			if line[0] == 'z' {
				return answer + "y", false
			}
			return answer, false
		}}
	d, addr := Dialer{Secret: []byte(testSecret)}, start(t, s, nil)
	if got, err := d.Ask(within(t), addr, strings.Repeat("x", MaxLine)); err != nil || got != answer {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	long := strings.Repeat("x", MaxLine+1)
	if _, err := d.Ask(within(t), addr, long); err == nil ||
		err.Error() != "request of 8193 bytes is longer than 8192" {
		t.Errorf("a request that is too long: %v", err)
	}
	conn := dial(t, addr)
	in := bufio.NewReader(conn)
	send(t, conn, hello(t, conn, in).signRequest(long)+"\n")
	if got := readLine(t, in); got != "ERROR: Line too long\n" {
		t.Errorf("a line that is too long: %.100q", got)
	}
	if _, err := d.Ask(within(t), addr, strings.Repeat("z", MaxLine)); err == nil ||
		!strings.Contains(err.Error(), "answer is longer than") {
		t.Errorf("an answer that is too long: %v", err)
	}
}

func TestRefusedText(t *testing.T) {
	s := &Server{Terminator: "\n", Secret: []byte(testSecret),
		Refuse:  func(why string) string { return why + "|UP:1.00" },
		Handler: func(context.Context, string) (string, bool) { return "yes", false }}
	if got, err := (Dialer{}).Ask(within(t), start(t, s, nil), "x"); err != nil || got != notAuthenticated+"|UP:1.00" {
		t.Errorf("%q, %v", got, err)
	}
}

// A stranger that has been answered, but has signed nothing, loses its place before a client that has signed does.
func TestStrangersInAFullTable(t *testing.T) {
	s := agentLike()
	s.MaxConns, s.Secret = 2, []byte(testSecret)
	addr := start(t, s, nil)
	conn := dial(t, addr)
	in := bufio.NewReader(conn)
	seal := hello(t, conn, in)
	send(t, conn, seal.signRequest("x")+"\n")
	readLine(t, in)
	for range 3 {
		stranger := dial(t, addr)
		send(t, stranger, "PING|1|db1\nx\n")
		strangerIn := bufio.NewReader(stranger)
		readLine(t, strangerIn)
		readLine(t, strangerIn)
	}
	send(t, conn, seal.signRequest("y")+"\n")
	if got, ok := seal.openAnswer(strings.TrimSuffix(readLine(t, in), "\n")); !ok || got != `OK: "y"` {
		t.Errorf("%q, %v", got, ok)
	}
}
