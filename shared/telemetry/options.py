"""The settings of telemetry, in the terms of OpenTelemetry's exporters."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from shared.settings import Form, Options, RelativePath, Secret

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

CollectorUrl = Annotated[
    str, Form(r"^https?://[^\s?#@/]+(/[^\s?#@]*)?$", "a URL such as 'https://collector.example:4318'")
]


class TelemetryOptions(Options):
    """What is sent to an OpenTelemetry collector. Needs the extra `otel`."""

    endpoint: CollectorUrl | None = None
    """The base URL of the collector's OTLP receiver; `/v1/traces` and the like are appended. Without it, telemetry is
    off and costs nothing."""

    protocol: Literal["http/protobuf"] = "http/protobuf"
    """The protocol of OTLP."""

    headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers of each request, such as `Authorization`."""

    ca_file: RelativePath | None = None
    """CA bundle (PEM) for the certificate of the collector; by default that of the Python package `certifi`."""

    traces: bool = True
    """Whether traces are exported."""

    metrics: bool = False
    """Whether what `/metrics` shows is exported as well, for those who do not scrape it."""

    metrics_interval: float = Field(default=60.0, ge=1)
    """Seconds between two exports of the metrics."""

    logs: bool = False
    """Whether the lines of the log are exported as well; they are written as before."""

    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """The part of the traces that begin here which is exported. A trace that was begun elsewhere keeps the decision of
    its `traceparent`."""

    timeout: float = Field(default=10.0, gt=0)
    """Seconds for one export, retries included. What cannot be exported by then is dropped and counted."""

    queue: int = Field(default=2048, ge=1)
    """Spans, and lines of the log, that wait for their export; more of each are dropped and counted."""

    flush_timeout: float = Field(default=2.0, ge=0)
    """Seconds that a stop waits for what was not exported yet."""

    def url_of(self, signal: str) -> str:
        """Return the URL that a signal is sent to."""
        return f"{(self.endpoint or '').rstrip('/')}/v1/{signal}"

    @model_validator(mode="after")
    def _no_headers_in_the_clear(self) -> Self:
        if self.headers and self.endpoint is not None:
            found = urlsplit(self.endpoint)
            if found.scheme == "http" and found.hostname not in _LOOPBACK:
                raise ValueError("headers are not sent without TLS: set endpoint to a URL that begins with 'https://'")
        return self
