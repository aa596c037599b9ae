"""Warns of connections between machines without TLS. No I/O."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import BaseModel

from services.system_api.delivery.options import DeliverOptions
from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.http.streaming.options import SseSourceOptions, WebSocketSourceOptions
from services.system_api.sources.table.options import TableSourceOptions
from shared.alerts import SmtpOptions
from shared.bus.kafka import KafkaOptions
from shared.database.options import DatabaseOptions
from shared.http.server import ListenOptions
from shared.settings import Finding, KeyPath, parts


def warnings(settings: BaseModel) -> list[Finding]:
    """Return a warning for each listener and each connection that other machines on the network can read."""
    return [warning for path, part in parts(settings) for warning in _warnings(path, part)]


def _warnings(path: KeyPath, part: BaseModel) -> Iterator[Finding]:
    match part:
        case ListenOptions(tls=None) if not is_local(part.host):
            host = part.host or "every address"
            yield Finding(
                (*path, "host"),
                f"{host} accepts connections from other machines without TLS; add `tls`,"
                " or listen on 127.0.0.1 behind a proxy that terminates TLS",
            )
        case DatabaseOptions(tls=None):
            remedy = "add `tls: {}`, with a `ca_file` if the authority is private"
            yield from _remote((*path, "url"), part.hosts, remedy)
        case TableSourceOptions(tls=None) if part.hosts and not part.on_mssql:  # its driver encrypts
            yield from _remote(
                (*path, "url"), part.hosts, "add `tls: {}`, with a `ca_file` if the authority is private"
            )
        case HttpSourceOptions() if part.url.startswith("http://"):
            yield from _remote((*path, "url"), [urlsplit(part.url).hostname or ""], "use https, if the API has it")
        case SseSourceOptions() | WebSocketSourceOptions() if part.url.startswith(("http://", "ws://")):
            yield from _remote((*path, "url"), [urlsplit(part.url).hostname or ""], "use https or wss")
        case KafkaOptions() if "SSL" not in part.security_protocol:
            hosts = [host for host, _ in part.addresses]
            yield from _remote((*path, "servers"), hosts, "set `security_protocol` to SSL or SASL_SSL")
        case DeliverOptions() if urlsplit(part.url).scheme == "http":
            yield from _remote((*path, "url"), [urlsplit(part.url).hostname or ""], "use https")
        case SmtpOptions(security="none"):
            yield from _remote((*path, "host"), [part.host], "set `security` to starttls or tls")
        case _:
            pass


def _remote(path: KeyPath, hosts: list[str], remedy: str) -> Iterator[Finding]:
    remote = [host for host in hosts if not is_local(host)]
    if remote:
        yield Finding(path, f"{remote[0]} is another machine, and the connection to it is not encrypted; {remedy}")


def is_local(host: str) -> bool:
    """Return whether a host is the loopback of this machine, or a Unix socket."""
    if host.startswith("/") or host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
