"""HTTP requests that events cause, and the circuit breaker before them: the step `call`."""
