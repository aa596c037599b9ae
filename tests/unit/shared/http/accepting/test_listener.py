import asyncio
import errno
import logging
import os
import socket

import pytest

from shared.http.accepting import crowds, listener
from shared.http.accepting.listener import accepting, bound_sockets
from shared.runtime.tasks import Tasks

TIMEOUT = 60.0


class Peers(asyncio.Protocol):
    """Records who connects."""

    addresses: asyncio.Queue[str]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.addresses.put_nowait(transport.get_extra_info("peername")[0])


@pytest.fixture
async def peers() -> type[Peers]:
    Peers.addresses = asyncio.Queue()
    return Peers


async def connect(host: str, port: int) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "reached"),
    [("::", {"127.0.0.1", "::1"}), ("::1", {"::1"}), ("0.0.0.0", {"127.0.0.1"}), ("127.0.0.1", {"127.0.0.1"})],
)
async def test_a_listener_is_reached_on_the_addresses_of_its_host(
    peers: type[Peers], host: str, reached: set[str]
) -> None:
    sockets = await bound_sockets(host, 0, 10)
    port = sockets[0].getsockname()[1]
    async with Tasks() as tasks:
        with accepting(sockets, peers, tasks, None):
            for address in ("127.0.0.1", "::1"):
                if address in reached:
                    await connect(address, port)
                    assert (await asyncio.wait_for(peers.addresses.get(), TIMEOUT)).removeprefix("::ffff:") == address
                else:
                    with pytest.raises(ConnectionRefusedError):
                        await connect(address, port)
    with pytest.raises(ConnectionRefusedError):
        await connect(min(reached), port)


async def test_all_addresses_of_a_name_have_one_port() -> None:
    sockets = await bound_sockets("localhost", 0, 10)
    assert len({listening.getsockname()[1] for listening in sockets}) == 1
    for listening in sockets:
        listening.close()


async def test_a_crowd_is_accepted_over_many_turns(peers: type[Peers], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "_PER_SECOND", 0.0)  # turns of a busy machine are long
    [listening] = await bound_sockets("127.0.0.1", 0, 100)
    port = listening.getsockname()[1]
    crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    largest = seen = 0
    async with Tasks() as tasks:
        with accepting([listening], peers, tasks, None):
            async with asyncio.timeout(TIMEOUT):
                while peers.addresses.qsize() < len(crowd):
                    await asyncio.sleep(0)
                    largest, seen = max(largest, peers.addresses.qsize() - seen), peers.addresses.qsize()
    for peer in crowd:
        peer.close()
    assert largest <= 8


async def test_without_descriptors_it_waits_and_goes_on(
    peers: type[Peers], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "_PAUSE", 0.01)

    class Exhausted(socket.socket):
        failures = 2

        def accept(self) -> tuple[socket.socket, object]:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return super().accept()

    [listening] = await bound_sockets("127.0.0.1", 0, 10)
    exhausted = Exhausted(listening.family, listening.type, fileno=listening.detach())
    exhausted.settimeout(0)
    async with Tasks() as tasks:
        with accepting([exhausted], peers, tasks, None), caplog.at_level(logging.ERROR):
            await connect("127.0.0.1", exhausted.getsockname()[1])
            assert await asyncio.wait_for(peers.addresses.get(), TIMEOUT) == "127.0.0.1"
    assert [line.getMessage() for line in caplog.records] == ["cannot accept connections; will retry"] * 2
