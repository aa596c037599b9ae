"""Which process this is: for its log lines, its metrics and the other replicas."""

import secrets
import socket
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def release() -> str:
    """Return the version of Trelay that runs; `unknown` where it runs from a folder and is not installed."""
    try:
        return version("trelay")
    except PackageNotFoundError:
        return "unknown"


release()  # once at the import: it reads files, and the services ask for it in their event loop


@dataclass(frozen=True, slots=True)
class Identity:
    """What OpenTelemetry calls `service.name`, `service.instance.id` and `service.version`."""

    service: str
    node: str
    version: str = field(default_factory=release)


def unique_node_name() -> str:
    """Return a name that no other replica has: the host's, and a random part for each start."""
    return f"{socket.gethostname()[:64]}-{secrets.token_hex(4)}"
