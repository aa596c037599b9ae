"""Servers that hold events of 1 KB for the measurements of memory: an event stream, a WebSocket, and a queue as in SQS.

Each makes its events as they are asked for, so that it takes no memory and no time for those that wait. The queue has
what the source needs of the protocol of SQS (JSON over HTTP), and forgets what it has delivered: a queue that keeps
messages would be measured with them.
"""

import argparse
import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

import uvloop
from aiohttp import web

NOTE = "x" * 900
_MOST = 10
"""Messages that one request for messages returns at most."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def body(number: int) -> str:
    """Return one event as JSON."""
    return json.dumps({"id": str(number), "amount": number * 0.37, "note": NOTE})


def event_stream(events: int) -> Answer:
    """Return what sends the events behind `Last-Event-ID`, and then nothing."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(int(request.headers.get("Last-Event-ID", "-1")) + 1, events):
            await response.write(f"id: {number}\ndata: {body(number)}\n\n".encode())
        await asyncio.Event().wait()
        return response

    return answer


def websocket(events: int) -> Answer:
    """Return what sends the events as messages, and then nothing."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        for number in range(events):
            await response.send_str(body(number))
        async for _ in response:
            pass
        return response

    return answer


def queue(events: int) -> Answer:
    """Return what delivers the events as messages of a queue."""
    left = iter(range(events))

    def receive(given: dict[str, Any]) -> dict[str, Any]:
        count = min(int(given.get("MaxNumberOfMessages", 1)), _MOST)
        return {"Messages": [_message(number) for number in islice(left, count)]}

    def settled(given: dict[str, Any]) -> dict[str, Any]:
        return {"Successful": [{"Id": entry["Id"]} for entry in given["Entries"]], "Failed": []}

    operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "ReceiveMessage": receive,
        "DeleteMessageBatch": settled,
        "ChangeMessageVisibilityBatch": settled,
        "GetQueueAttributes": lambda _: {"Attributes": {"MessageRetentionPeriod": "345600"}},
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        found = operations[operation](json.loads(await request.read()))
        if found.get("Messages") == []:
            await asyncio.sleep(1)  # a long poll without a message
        return web.json_response(found, content_type="application/x-amz-json-1.0")

    return answer


def _message(number: int) -> dict[str, Any]:
    text = body(number)
    return {
        "MessageId": str(number),
        "ReceiptHandle": str(number),
        "MD5OfBody": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
        "Body": text,
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1769860800000"},
    }


SERVED = {"sse": event_stream, "websocket": websocket, "sqs": queue}


async def serve(kind: str, events: int) -> None:
    """Serve until this process is ended, and print the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", SERVED[kind](events))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(SERVED))
    parser.add_argument("events", type=int)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.kind, arguments.events))


if __name__ == "__main__":
    main()
