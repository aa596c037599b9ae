"""OpenTelemetry: traces of events and requests, exported by OTLP; nothing of it is imported while it is off."""
