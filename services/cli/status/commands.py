"""`trelay status`: shows the whole deployment on one screen."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from services.cli.status import screen
from services.cli.status.collecting import Address, collect
from services.cli.status.overview import overview
from services.cli.tls import ca_context
from services.cli.tokens import sendable
from services.standalone.settings import WholeSettings
from shared.errors import SettingsError
from shared.http.server import ListenOptions
from shared.runtime.clock import SYSTEM_CLOCK
from shared.settings import load

_GUESSES = ("http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8080")
_ALL = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 -- what the settings may say


@click.command("status", short_help="Show the whole deployment on one screen.")
@click.option("--url", "urls", multiple=True, metavar="URL", envvar="TRELAY_STATUS_URLS", show_envvar=True,
              help="The address of a replica of any service; repeat it for more. An own listener of health and"
              " metrics comes after a comma: http://a:8081,http://a:9090.")  # fmt: skip
@click.option("-c", "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Take the addresses from the listeners of a settings file.")  # fmt: skip
@click.option("--token", envvar="TRELAY_OPERATOR_TOKEN", show_envvar=True, callback=sendable,
              help="The token of an operator. Other users of the machine can see an option.")  # fmt: skip
@click.option("--ca-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="CA bundle (PEM) for the server certificates.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--watch", is_flag=False, flag_value=5.0, type=click.FloatRange(min=0.5), metavar="[SECONDS]",
              help="Repeat it every so many seconds (5) until Ctrl-C.")  # fmt: skip
def show_status(
    *,
    urls: tuple[str, ...],
    config: Path | None,
    token: str | None,
    ca_file: Path | None,
    as_json: bool,
    watch: float | None,
) -> int:
    """Show the whole deployment: replicas, sources, pipelines, connections, dead letters, problems.

    It asks each address for /readyz, /metrics and, where there are, /sources and /pipelines. Without addresses it asks
    the default ports of this machine. Behind an address of several replicas, one of them answers: name each replica
    for all counts. Each problem has the name of the alert whose runbook (docs/runbooks) tells what to do.

    Exit status: 0, healthy; 1, there are problems, or an address does not answer.

    \b
    Examples:
      trelay status
      trelay status --config trelay.yaml --watch
      trelay status --url http://system:8081,http://system:9090 --url http://experience:8080,http://experience:9090
    """  # noqa: D301 -- click's mark against rewrapping
    if urls and config is not None:
        raise click.UsageError("give --url or --config, not both")
    addresses = _addresses(urls, config)
    context = ca_context(ca_file)
    status = 0
    while True:
        found = asyncio.run(_found(addresses, token, context))
        status = 0 if found["healthy"] else 1
        if watch is None:
            _print(found, as_json=as_json)
            return status
        _print(found, as_json=as_json, again=True)
        asyncio.run(SYSTEM_CLOCK.sleep(watch))


async def _found(addresses: Sequence[Address], token: str | None, context: Any) -> dict[str, Any]:
    return overview(await collect(addresses, token, context), SYSTEM_CLOCK.time())


def _print(found: dict[str, Any], *, as_json: bool, again: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=None if again else 2))
        return
    if again:
        click.clear()  # nothing, where the output is no terminal
    for line in screen.lines(found):
        click.echo(line)


def _addresses(urls: Sequence[str], config: Path | None) -> list[Address]:
    if urls:
        return [_named(url) for url in urls]
    if config is None:
        return [Address(url, url, guessed=True) for url in _GUESSES]
    settings = load(config, WholeSettings)
    return [*_configured((settings.system.listen, settings.process.listen, settings.experience.listen))]


def _named(text: str) -> Address:
    url, _, health = (part.strip().rstrip("/") for part in text.partition(","))
    for part in filter(None, (url, health)):
        if urlsplit(part).scheme not in {"http", "https"} or not urlsplit(part).hostname:
            raise SettingsError(f"--url: found {part!r}; expected http://host:port")
    return Address(url, health or url)


def _configured(listeners: Sequence[ListenOptions]) -> Iterator[Address]:
    for listen in listeners:
        url = _url("http" if listen.tls is None else "https", listen.host, listen.port)
        health = listen.health
        yield Address(url, url if health is None else _url("http", health.host, health.port))


def _url(scheme: str, host: str, port: int) -> str:
    name = _ALL.get(host, f"[{host}]" if ":" in host else host)
    return f"{scheme}://{name}:{port}"
