"""The process that `apart` starts: evaluates the expressions of the requests on standard input, within limits."""

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import BinaryIO

from shared.errors import Malformed
from shared.expression import wire
from shared.expression.apart import MEMORY, SECONDS
from shared.expression.jsonata import EvaluationTimeout, Jsonata
from shared.expression.process_limits import limit_cpu, limit_memory
from shared.expression.wire import Kind

_COMPILED = 1000
"""Expressions that are kept compiled."""

_LIMIT_MS = int(SECONDS * 1000)
"""The limit of jsonatapy, which goes by the clock: on a busy machine, that of the CPU time has to come first."""


def answer(given: wire.Request, compiled: dict[bytes, Jsonata]) -> bytes:
    """Return the response to a request."""
    try:
        found = compiled.get(given.expression)
        if found is None:
            if len(compiled) >= _COMPILED:
                compiled.clear()
            found = compiled[given.expression] = Jsonata(given.expression.decode(), _LIMIT_MS, apart=False)
        event = None if given.event is None else json.loads(given.event)
        value = found.evaluate(given.data, event)
    except EvaluationTimeout as exc:
        return wire.response(Kind.TIMED_OUT, str(exc).encode(errors="replace"))
    except MemoryError:
        return wire.response(Kind.FAILED, b"the expression failed: it takes too much memory")
    except (Malformed, ValueError) as exc:
        return wire.response(Kind.FAILED, str(exc).encode(errors="replace"))
    return wire.response(Kind.UNDEFINED, b"") if value is None else wire.response(Kind.VALUE, value)


def main(requests: BinaryIO, responses: BinaryIO, on_request: Callable[[], None] = lambda: None) -> None:
    """Answer requests until there are no more; `on_request` is called at the beginning of each."""
    responses.write(wire.response(Kind.READY, b""))
    responses.flush()
    compiled: dict[bytes, Jsonata] = {}
    while len(head := requests.read(wire.REQUEST_HEAD)) == wire.REQUEST_HEAD:
        on_request()
        body = requests.read(wire.request_size(head))
        responses.write(answer(wire.parse_request(head, body), compiled))
        responses.flush()


if __name__ == "__main__":
    limit_memory(MEMORY)
    # The limit of CPU time would leave a file with the content of the event.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cpu_seconds = int(sys.argv[1])
    # What ends the whole ends this: the pipe closes.
    with os.fdopen(os.dup(1), "wb") as out, os.fdopen(os.dup(0), "rb") as given_requests:
        sys.stdout = sys.stderr
        main(given_requests, out, lambda: limit_cpu(cpu_seconds))
