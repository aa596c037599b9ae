"""OpenTelemetry: traces, metrics and logs, exported by OTLP; nothing of it is imported while it is off."""
