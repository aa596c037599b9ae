"""Every setting of telemetry and of reloading, and settings that are wrong, for the test of verdicts."""

TELEMETRY = """\
telemetry: {endpoint: "https://collector.example:4318/otlp", protocol: http/protobuf,
  headers: {Authorization: {file: password.txt}, X-Scope: a}, ca_file: ca.pem, traces: true, sample_ratio: 0.1,
  metrics: true, metrics_interval: 60, logs: true,
  timeout: 10, queue: 2048, flush_timeout: 2}
reload: {on_change: false, interval: 30}
"""

RIGHT_TELEMETRY = ["telemetry: {endpoint: 'http://127.0.0.1:4318', sample_ratio: 0}", "reload: {interval: 0.5}"]

WRONG_TELEMETRY = [
    "telemetry: {endpoint: 'collector:4318'}",
    "telemetry: {endpoint: 'https://a:b@collector'}",
    "telemetry: {protocol: grpc}",
    "telemetry: {metrics_interval: 0}",
    "telemetry: {sample_ratio: 1.5}",
    "reload: {interval: 0}",
    "reload: {on_change: sometimes}",
    "reload: {watch: true}",
]
