package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/test/lab"
)

const (
	watchers     = 10
	scrapePeriod = 15 * time.Second // Prometheus' own default is a minute, its samples say 15 s
	watchedFor   = time.Minute
	metricsAt    = "10.77.0.10:9990"
)

// watched measures how much more CPU the monitor needs while ten clients read its stream of events, as open status
// pages do, and ten more fetch its metrics.
func (b *bench) watched(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c, _, err := b.cluster(ctx, lab.Options{CheckPeriod: 5 * time.Second, TrapPeriod: 10 * time.Second,
		Mon: "metrics_listen " + metricsAt + "\n"})
	if err != nil {
		return nil, err
	}
	_, alone, err := usage(ctx, c.Monitor, watchedFor)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return c.Client.Dial(ctx, addr) }}}
	defer client.CloseIdleConnections()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	events := make([]int64, watchers)
	for i := range watchers {
		group.Go(func() error {
			n, err := fetch(watching, client, "/api/v1/events")
			events[i] = n
			return err
		})
		group.Go(func() error { return scrape(watching, client) })
	}
	mb, percent, err := usage(ctx, c.Monitor, watchedFor)
	if err != nil {
		return nil, err
	}
	stop()
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, n := range events {
		if n < 1000 {
			return nil, fmt.Errorf("a watcher got only %d bytes of events in %s", n, watchedFor)
		}
	}
	return []figure{
		{Name: "ten watch the page and ten fetch metrics, CPU more", Unit: "%", Target: "< 1",
			Values: []float64{percent - alone}, judge: allAtMost(1)},
		{Name: " resident meanwhile", Unit: "MB", Values: []float64{mb}},
	}, c.Close()
}

// fetch gets a path and returns how many bytes the answer has. A stream of events does not end: it is read until ctx
// ends, which is no error.
func fetch(ctx context.Context, client *http.Client, path string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metricsAt+path, nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", path, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("get %s: %s", path, answer.Status)
	}
	n, err := io.Copy(io.Discard, answer.Body)
	if ctx.Err() != nil {
		return n, nil
	}
	return n, err
}

// scrape fetches the metrics as Prometheus does, until ctx ends.
func scrape(ctx context.Context, client *http.Client) error {
	ticker := time.NewTicker(scrapePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if _, err := fetch(ctx, client, "/metrics"); err != nil && ctx.Err() == nil {
			return err
		}
	}
}
