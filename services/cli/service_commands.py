"""What the commands that call a service share: they call it, wait for what was asked of it, and print its answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from services.cli.service_client import ServiceAddress, ServiceClient
from shared.runtime.clock import SYSTEM_CLOCK

_POLL_INTERVAL = 0.2
Answer = Mapping[str, Any]
C = TypeVar("C", bound=ServiceClient)
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


def wait_option(command: F) -> F:
    """Add the option `--wait`."""
    return click.option(
        "--wait",
        type=click.FloatRange(min=0),
        default=15.0,
        show_default=True,
        help="Seconds to wait until it is done; 0 returns at once.",
    )(command)


def call_service(
    kind: type[C], work: Callable[[C], Awaitable[R]], url: str, token: str | None, ca_file: Path | None
) -> R:
    """Do some work with a client of a service; return its result. Raises what the work and `ServiceAddress` raise."""
    address = ServiceAddress.given(url, token, ca_file)

    async def connected() -> R:
        async with kind.opened(address) as client:
            return await work(client)

    return asyncio.run(connected())


async def awaited(
    answer: Answer, ask: Callable[[], Awaitable[Answer]], condition: Callable[[Answer], bool], wait: float
) -> Answer:
    """Ask again until an answer satisfies a condition, or for `wait` seconds; return the last answer."""
    end = SYSTEM_CLOCK.monotonic() + wait
    while not condition(answer) and SYSTEM_CLOCK.monotonic() < end:
        await asyncio.sleep(_POLL_INTERVAL)
        answer = await ask()
    return answer


def print_answer(found: Answer, lines: Iterable[str], *, as_json: bool) -> None:
    """Print an answer as JSON, or as lines."""
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for line in lines:
        click.echo(line)
