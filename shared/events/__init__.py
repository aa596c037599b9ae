"""Events (CloudEvents), their trace context, and the dead letters of those that were refused."""
