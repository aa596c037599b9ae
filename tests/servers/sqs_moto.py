"""Moto's SQS, one request at a time: `python sqs_moto.py PORT [CERTIFICATE KEY]`.

Moto changes the lists of a queue without a lock, so that requests at the same time lose messages. A long poll holds no
lock: it looks again when a message is sent, and each second, as Moto itself does.
"""

import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

_PAUSE = 1.0
"""Seconds after which a long poll looks again for what has become visible."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def one_at_a_time(application: Application) -> Application:
    """Return a WSGI application that handles one request at a time."""
    sent = threading.Condition()

    def handle(environ: dict[str, Any], body: bytes) -> tuple[tuple[Any, ...], bytes]:
        given: list[tuple[Any, ...]] = []
        environ = environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        answer = b"".join(application(environ, lambda *arguments: given.append(arguments)))
        return given[-1], answer

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        target, until = environ.get("HTTP_X_AMZ_TARGET", ""), 0.0
        if target.endswith(".ReceiveMessage"):
            request = json.loads(body)
            until = time.monotonic() + request.pop("WaitTimeSeconds", 0)
            body = json.dumps(request | {"WaitTimeSeconds": 0}).encode()
        with sent:
            while True:
                started, answer = handle(environ, body)
                left = until - time.monotonic()
                if left <= 0 or b'"Messages"' in answer or not started[0].startswith("200"):
                    break
                sent.wait(min(left, _PAUSE))
            if ".SendMessage" in target:
                sent.notify_all()
        start_response(*started)
        return [answer]

    return serve


def main() -> None:
    """Serve until the process is killed."""
    _, port, *certificate = sys.argv
    application = one_at_a_time(DomainDispatcherApplication(create_backend_app))
    run_simple(
        "127.0.0.1",
        int(port),
        application,
        threaded=True,
        ssl_context=(certificate[0], certificate[1]) if certificate else None,
        request_handler=MotoRequestHandler,
    )


if __name__ == "__main__":
    main()
