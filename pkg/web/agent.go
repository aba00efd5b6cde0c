package web

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mysql-mmm/pkg/agent"
)

// AgentSource is what this package needs of an agent (agent.Agent).
type AgentSource interface {
	Status() (agent.Status, bool)
	Alive() bool
	Serves(role string) (ok bool, why string)
	KnowsRole(role string) bool
}

// Agent serves an agent's metrics and health checks. version is that of the program.
func Agent(a AgentSource, version string) http.Handler {
	registry := newRegistry("mmm_agentd", version)
	registry.MustRegister(newAgentMetrics(a))
	return serve(agentRoutes(a, registry))
}

// agentRoutes are the routes that docs/api/agent.openapi.json describes.
func agentRoutes(a AgentSource, registry *prometheus.Registry) []route {
	return []route{
		{"/metrics", metricsHandler(registry)},
		{"/healthz", agentAlive(a)},
		{"/readyz", agentReady(a)},
		{"/role/{role}", serving(a)},
		{"/openapi.json", described("agent.openapi.json", "application/json")},
	}
}

func agentAlive(a AgentSource) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if !a.Alive() {
			healthy(w, false, "the agent is not at work")
			return
		}
		healthy(w, true, "OK")
	}
}

func agentReady(a AgentSource) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s, ok := a.Status()
		if !ok || s.Heard.IsZero() {
			healthy(w, false, "no monitor has spoken to this agent yet")
			return
		}
		healthy(w, a.Alive(), s.String())
	}
}

// serving tells load balancers whether clients of a role can be sent here.
func serving(a AgentSource) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		role := r.PathValue("role")
		if !a.KnowsRole(role) {
			http.Error(w, "There is no such role.", http.StatusNotFound)
			return
		}
		if ok, why := a.Serves(role); !ok {
			healthy(w, false, why)
			return
		}
		healthy(w, true, "OK")
	}
}

func metricsHandler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 16, Timeout: writeTimeout / 2})
}
