"""The HTTP server of every service: limits, TLS, problem details, health and metrics."""
