// Package web lets people and machines watch a monitor or an agent over HTTP: metrics for Prometheus, health checks for
// load balancers, JSON, and the monitor's status page. It changes nothing, and reads only what the monitor or agent has
// published, so that neither ever waits for it. A port that can't be opened or clients that misbehave harm nothing but
// the HTTP service.
package web
