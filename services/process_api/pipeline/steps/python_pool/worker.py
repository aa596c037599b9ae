"""The process that `pool` starts: imports one function, and calls it for each message on standard input."""

import asyncio
import os
import sys
from typing import BinaryIO

import msgspec

from services.process_api.pipeline.steps.python import Function
from services.process_api.pipeline.steps.python_pool.frames import HEAD, Kind, frame
from shared.errors import Malformed, Unavailable
from shared.expression.nodes import Raw

_call = msgspec.json.Decoder(tuple[Raw, Raw]).decode
_encode = msgspec.json.Encoder().encode


def answer(function: Function, runner: asyncio.Runner, content: bytes) -> bytes:
    """Call the function; return the message that says what came of it."""
    data, attributes = _call(content)
    try:
        given = None if bytes(data) == b"null" else bytes(data)
        arguments = function.arguments(given, attributes)
        returned = runner.run(function.awaited(arguments)) if function.asynchronous else function.called(arguments)
        return frame(Kind.RETURNED, _encode(function.entities(returned)))
    except Unavailable as exc:
        return frame(Kind.UNAVAILABLE, str(exc).encode(errors="replace"))
    except Malformed as exc:
        return frame(Kind.REJECTED, str(exc).encode(errors="replace"))


def main(function: Function, calls: BinaryIO, answers: BinaryIO) -> None:
    """Answer calls until there are no more."""
    answers.write(frame(Kind.READY))
    answers.flush()
    with asyncio.Runner() as runner:
        while len(head := calls.read(HEAD.size)) == HEAD.size:
            answers.write(answer(function, runner, calls.read(HEAD.unpack(head)[1])))
            answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as out, os.fdopen(os.dup(0), "rb") as given_calls:
        sys.stdout = sys.stderr  # what the function prints is no answer
        os.dup2(2, 1)
        main(Function(sys.argv[1], msgspec.json.decode(sys.argv[2])), given_calls, out)
