package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"mysql-mmm/pkg/event"
)

// Webhook posts messages as JSON.
type Webhook struct {
	target *url.URL
	token  string
	client *http.Client
}

// NewWebhook makes a Webhook for an http or https URL; token "" sends none. Its error does not show the URL.
func NewWebhook(target, token string) (*Webhook, error) {
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("the webhook's URL is no URL with a host")
	}
	w := &Webhook{target: u, token: token}
	w.client = &http.Client{
		// A connection for each message, as messages are few. No proxy and no redirection: the token is for this server
		// only.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, nil
}

// String is the URL without the parts that may be secret.
func (w *Webhook) String() string { return w.target.Scheme + "://" + w.target.Host }

// posted is the JSON of a message. Text is what chat programs show.
type posted struct {
	Alert   string        `json:"alert"`
	Cluster string        `json:"cluster,omitempty"`
	Monitor string        `json:"monitor"`
	Subject string        `json:"subject"`
	Text    string        `json:"text"`
	Events  []event.Event `json:"events"`
	More    int           `json:"more"`
}

// Send posts a message. Any 2xx is a success; redirections are not followed.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	p := posted{Alert: m.Alert, Monitor: hostname(), Subject: m.Subject(), Text: m.Text(), Events: m.Events,
		More: m.More}
	if len(m.Events) > 0 {
		p.Cluster = m.Events[0].Cluster
	}
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.target.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook's URL can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "mysql-mmm")
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	answer, err := w.client.Do(req)
	if whole, ok := errors.AsType[*url.Error](err); ok {
		err = whole.Err // whole would show the URL
	}
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // the text of the answer is for nobody
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		return fmt.Errorf("post: the answer is %d %s", code, http.StatusText(code))
	default:
		return fmt.Errorf("post: the answer is %d %s: %w", code, http.StatusText(code), ErrRefused)
	}
}
