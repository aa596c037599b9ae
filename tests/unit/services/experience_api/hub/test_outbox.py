import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.hub.outbox import NO_FD, Outbox
from tests.unit.services.experience_api.hub.transports import FakeTransport

LIMIT = 100


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def plain(transport: FakeTransport) -> Outbox:
    return Outbox(transport, 7, LIMIT)


def test_what_the_kernel_accepts_is_written_at_once(transport: FakeTransport, plain: Outbox) -> None:
    for _ in range(2):
        assert plain.offer(b"abc", transport.write_directly)
        assert plain.direct_fd == 7
    assert transport.sent == b"abcabc"
    assert plain.buffered == 0


def test_what_it_does_not_accept_is_buffered_and_never_overtaken(transport: FakeTransport, plain: Outbox) -> None:
    transport.room = 4
    assert plain.offer(b"abc", transport.write_directly)
    assert plain.offer(b"def", transport.write_directly)
    assert plain.direct_fd == NO_FD
    assert plain.offer(b"ghi", transport.write_directly)
    assert (transport.sent, plain.buffered) == (b"abcd", 5)
    transport.peer_reads(100)
    assert plain.offer(b"jkl", transport.write_directly)
    assert plain.direct_fd == 7
    assert transport.sent == b"abcdefghijkl"


def test_bytes_buffered_before_the_first_frame_go_first(transport: FakeTransport, plain: Outbox) -> None:
    transport.room = 0
    transport.write(b"upgrade")
    assert plain.offer(b"abc", transport.write_directly)
    transport.peer_reads(100)
    assert transport.sent == b"upgradeabc"


def test_the_limit_applies_to_buffered_bytes_and_frames_are_accepted_whole(
    transport: FakeTransport, plain: Outbox
) -> None:
    transport.room = 10
    assert plain.offer(b"x" * LIMIT, transport.write_directly)
    assert plain.buffered == LIMIT - 10
    assert not plain.offer(b"y" * 11, transport.write_directly)
    assert plain.offer(b"z" * 10, transport.write_directly)
    assert not plain.offer(b"y", transport.write_directly)
    transport.peer_reads(10**6)
    assert transport.sent == b"x" * LIMIT + b"z" * 10


def test_frames_above_the_limit_are_not_begun(transport: FakeTransport, plain: Outbox) -> None:
    assert not plain.offer(b"x" * (LIMIT + 1), transport.write_directly)
    assert transport.sent == b""


def test_forcing_exceeds_the_limit_and_keeps_the_order(transport: FakeTransport, plain: Outbox) -> None:
    transport.room = 0
    plain.offer(b"abc", transport.write_directly)
    plain.force(b"x" * LIMIT, transport.write_directly)
    transport.peer_reads(10**6)
    assert transport.sent == b"abc" + b"x" * LIMIT


def test_under_tls_everything_goes_to_the_transport(transport: FakeTransport) -> None:
    outbox = Outbox(transport, None, LIMIT)

    def never(_fd: int, _data: bytes) -> int:
        raise AssertionError

    assert outbox.offer(b"abc", never)
    outbox.force(b"def", never)
    assert outbox.direct_fd == NO_FD
    assert transport.sent == b"abcdef"


def test_a_broken_connection_is_left_to_the_transport(transport: FakeTransport, plain: Outbox) -> None:
    transport.broken = True
    assert plain.offer(b"abc", transport.write_directly)
    assert transport.sent == b"abc"  # by `write`, which detects the error


def test_after_closing_nothing_is_written(transport: FakeTransport, plain: Outbox) -> None:
    plain.offer(b"abc", transport.write_directly)
    plain.close()
    assert plain.offer(b"def", transport.write_directly)
    plain.force(b"ghi", transport.write_directly)
    assert transport.sent == b"abc"
    assert plain.buffered == 0
    assert plain.direct_fd == NO_FD


@given(st.lists(st.tuples(st.sampled_from(["offer", "force", "read"]), st.integers(1, 60)), min_size=1, max_size=60))
def test_any_sequence_keeps_the_order_and_loses_nothing(steps: list[tuple[str, int]]) -> None:
    transport = FakeTransport(room=50)
    outbox = Outbox(transport, 7, LIMIT)
    expected = b""
    for number, (step, size) in enumerate(steps):
        data = bytes([number]) * size
        if step == "read":
            transport.peer_reads(size)
            continue
        if step == "force":
            outbox.force(data, transport.write_directly)
            expected += data
        elif outbox.offer(data, transport.write_directly):
            expected += data
            assert outbox.buffered <= LIMIT or any(step == "force" for step, _ in steps)
        assert outbox.direct_fd == NO_FD or not transport.buffered
    transport.peer_reads(10**6)
    assert transport.sent == expected


def test_bytes_go_to_the_descriptor_as_they_are_unless_there_is_none(transport: FakeTransport, plain: Outbox) -> None:
    assert plain.is_direct
    assert not Outbox(transport, None, LIMIT).is_direct
