"""OpenTelemetry: traces and metrics, exported by OTLP; nothing of it is imported while it is off."""
