"""Events (CloudEvents), the headers of their records, their trace context, and dead letters."""
