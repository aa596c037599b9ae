import socket
import sys
from typing import Any

import pytest

from trelay_client.progress import bytes_received


class Found:
    """A WebSocket with this socket below it."""

    def __init__(self, peer: socket.socket | None) -> None:
        self._peer = peer

    def get_extra_info(self, name: str) -> Any:
        assert name == "socket"
        return self._peer


@pytest.mark.skipif(sys.platform != "linux", reason="needs TCP_INFO")
def test_the_number_grows_as_bytes_arrive() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as reader,
        listening.accept()[0] as writer,
    ):
        before = bytes_received(Found(reader))  # type: ignore[arg-type]
        writer.send(b"x" * 100)
        reader.recv(100)
        assert bytes_received(Found(reader)) == before + 100  # type: ignore[arg-type]


def test_it_stands_where_nothing_is_known() -> None:
    assert bytes_received(Found(None)) == 0  # type: ignore[arg-type]
    with socket.socket(socket.AF_UNIX) as other:
        assert bytes_received(Found(other)) == 0  # type: ignore[arg-type]
