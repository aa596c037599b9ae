"""`trelay probe`: pushes a synthetic event, and waits for it at a subscriber."""

import asyncio
import json
import ssl
import uuid
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import click
import uvloop

from services.cli.tls import ca_context
from services.cli.tokens import sendable
from services.standalone.client_errors import client_errors_translated
from shared.http.client.beginning import beginning
from shared.http.client.reasons import reason_of
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.redaction import one_line
from trelay_client import CONNECTED, ClientCredentials, Frame, TrelayClientError, UsageError, subscribe

_FAILED = 1
_ACCEPTED = 202
_STEPS = ("connect", "push", "deliver")
_SHOWN = 500
"""Bytes shown of a response that is no problem document."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What to probe."""

    url: str
    credentials: ClientCredentials
    channel: str
    producer_token: str | None
    timeout: float
    ssl_context: ssl.SSLContext | None = None


@dataclass(slots=True)
class Outcome:
    """What came of a probe."""

    channel: str
    id: str
    seconds: list[float] = field(default_factory=list)
    """Of the steps that are done: to connect, to push, and until the event was delivered."""
    error: str | None = None

    @property
    def step(self) -> str | None:
        """The step that failed; None if none did."""
        return None if self.error is None else _STEPS[len(self.seconds)]

    def shown(self) -> dict[str, Any]:
        """Return it for programs."""
        times = {f"{step}_s": round(seconds, 4) for step, seconds in zip(_STEPS, self.seconds, strict=False)}
        failure = {} if self.error is None else {"step": self.step, "error": self.error}
        found: dict[str, Any] = {"ok": self.error is None, "channel": self.channel, "id": self.id}
        return found | times | {"total_s": round(sum(self.seconds), 4)} | failure

    def sentence(self) -> str:
        """Return it for people."""
        times = ", ".join(f"{step} {seconds:.3f} s" for step, seconds in zip(_STEPS, self.seconds, strict=False))
        if self.error is None:
            return f"OK: {times}; {sum(self.seconds):.3f} s in all"
        return f"failed to {self.step}: {one_line(self.error)}" + (f" (before: {times})" if times else "")


@click.command("probe")
@click.argument("url", default="http://127.0.0.1:8080", envvar="TRELAY_URL")
@click.option("--client-id", envvar="TRELAY_CLIENT_ID", show_envvar=True, required=True,
              help="A client for probes alone: each probe replaces its token and its connection.")  # fmt: skip
@click.option("--client-secret", envvar="TRELAY_CLIENT_SECRET", show_envvar=True, required=True, help="Its secret.")
@click.option("--producer-token", envvar="TRELAY_PRODUCER_TOKEN", show_envvar=True, callback=sendable,
              help="The token of a producer; the default is to push as an address on the allow list.")  # fmt: skip
@click.option("--channel", default="trelay-probe", show_default=True, help="The channel of the event.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
              help="Seconds for all of it.")  # fmt: skip
@click.option("--ca-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="CA bundle (PEM) for the server certificate.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def probe(  # noqa: PLR0913 -- click passes each option by name
    *,
    url: str,
    client_id: str,
    client_secret: str,
    producer_token: str | None,
    channel: str,
    timeout: float,
    ca_file: Path | None,
    as_json: bool,
) -> int:
    """Send an event through the experience layer and the bus, and wait for it at a subscriber.

    URL is the address of the experience layer; the default is TRELAY_URL, else http://127.0.0.1:8080. The exit status
    is 0 if the event arrived in time, and 1 otherwise: for alerts, and for tests after a deployment.

    \b
    Example:
      trelay probe https://relay.example.com --client-id probe --json
    """  # noqa: D301 -- click's mark against rewrapping
    asked = Probe(
        url.rstrip("/"),
        ClientCredentials(client_id, client_secret),
        channel,
        producer_token,
        timeout,
        ca_context(ca_file),
    )
    with client_errors_translated():
        outcome = uvloop.run(run(asked, SYSTEM_CLOCK))
    click.echo(json.dumps(outcome.shown()) if as_json else outcome.sentence())
    return 0 if outcome.error is None else _FAILED


async def run(probe: Probe, clock: Clock) -> Outcome:
    """Probe once."""
    outcome = Outcome(probe.channel, str(uuid.uuid4()))
    problems: list[str] = []
    try:
        async with asyncio.timeout(probe.timeout):
            await _through(probe, outcome, problems, clock)
    except UsageError:
        raise  # an argument is wrong, and nothing was probed
    except TimeoutError:
        last = f"; {problems[-1]}" if problems else ""
        outcome.error = f"not done within {probe.timeout:g} s{last}"
    except (TrelayClientError, aiohttp.ClientError, OSError) as exc:
        outcome.error = reason_of(exc) or type(exc).__name__
    return outcome


async def _through(probe: Probe, outcome: Outcome, problems: list[str], clock: Clock) -> None:
    began = clock.monotonic()

    def done() -> None:
        nonlocal began
        now = clock.monotonic()
        outcome.seconds.append(now - began)
        began = now

    frames = subscribe(
        probe.url, probe.credentials, [probe.channel], on_retry=problems.append, ssl_context=probe.ssl_context
    )
    async with aclosing(frames):
        async for frame in frames:
            if not outcome.seconds and _is_connected(frame):
                done()
                outcome.error = await _push(probe, outcome.id)
                if outcome.error is not None:
                    return
                done()
            elif frame.event.get("id") == outcome.id:
                done()
                return


def _is_connected(frame: Frame) -> bool:
    return frame.own and frame.event.get("type") == CONNECTED


async def _push(probe: Probe, event_id: str) -> str | None:
    """Push the event; return why it was refused, None if it was accepted."""
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/probe",
        "type": "probe.sent",
        "channel": probe.channel,
        "data": {},
    }
    headers = {"Content-Type": "application/cloudevents+json"}
    if probe.producer_token is not None:
        headers["Authorization"] = f"Bearer {probe.producer_token}"
    tls: ssl.SSLContext | bool = True if probe.ssl_context is None else probe.ssl_context
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{probe.url}/entity", data=json.dumps(event), headers=headers, allow_redirects=False, ssl=tls
        ) as found,
    ):
        return None if found.status == _ACCEPTED else _reason(found.status, await beginning(found.content, 65_536))


def _reason(status: int, body: bytes) -> str:
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, TypeError, KeyError):
        detail = body[:_SHOWN].decode(errors="replace")
    return f"POST /entity answered {status}: {detail}"
