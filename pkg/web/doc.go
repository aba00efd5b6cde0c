// Package web lets people and machines watch a monitor or an agent over HTTP: metrics for Prometheus, health checks for
// load balancers, JSON, and the monitor's status page. It only reads, and it only reads what was published: nobody who
// decides anything ever waits for it, and a port that can't be had or clients that misbehave cost no more than
// themselves.
package web
