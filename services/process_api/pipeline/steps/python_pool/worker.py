"""The process that `pool` starts: imports one function, and calls it for each message on standard input."""

import asyncio
import sys
from typing import BinaryIO

import msgspec

from services.process_api.pipeline.steps.python import Function
from services.process_api.pipeline.steps.python_pool.frames import HEAD, Kind, frame
from services.process_api.pipeline.steps.python_pool.standard_pipes import standard_pipes
from shared.errors import Malformed, Unavailable
from shared.expression.nodes import Raw

RESULT_LIMIT = 64 * 1_048_576
"""Bytes of what one call returns: far more than the events of one transaction, and the replica can hold it."""

_ERROR_LIMIT = 10_000
"""Characters of an error; a dead letter keeps fewer."""

_call = msgspec.json.Decoder(tuple[Raw, Raw]).decode
_encode = msgspec.json.Encoder().encode


def answer(function: Function, runner: asyncio.Runner, content: bytes) -> bytes:
    """Call the function; return the message that says what came of it."""
    data, attributes = _call(content)
    try:
        given = None if bytes(data) == b"null" else bytes(data)
        arguments = function.arguments(given, attributes)
        returned = runner.run(function.awaited(arguments)) if function.asynchronous else function.called(arguments)
        content = _encode(function.entities(returned))
    except Unavailable as exc:
        return frame(Kind.UNAVAILABLE, _shown(exc))
    except Malformed as exc:
        return frame(Kind.REJECTED, _shown(exc))
    if len(content) > RESULT_LIMIT:
        error = f"{function.name} returned {len(content)} bytes; expected at most {RESULT_LIMIT}"
        return frame(Kind.REJECTED, error.encode())
    return frame(Kind.RETURNED, content)


def _shown(error: Exception) -> bytes:
    return str(error)[:_ERROR_LIMIT].encode(errors="replace")


def main(function: Function, calls: BinaryIO, answers: BinaryIO) -> None:
    """Answer calls until there are no more."""
    answers.write(frame(Kind.READY))
    answers.flush()
    with asyncio.Runner() as runner:
        while len(head := calls.read(HEAD.size)) == HEAD.size:
            answers.write(answer(function, runner, calls.read(HEAD.unpack(head)[1])))
            answers.flush()


if __name__ == "__main__":
    with standard_pipes() as (given_calls, out):
        main(Function(sys.argv[1], msgspec.json.decode(sys.argv[2])), given_calls, out)
