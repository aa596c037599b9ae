import uuid
from collections.abc import Awaitable, Callable, Generator

import msgspec
import pytest

from services.experience_api.hub.audience import Interest, Subscriber, narrow
from services.experience_api.hub.close_codes import CLAIM_LOST, REPLACED, CloseReason
from services.experience_api.hub.heartbeat import Position, Progress
from services.experience_api.refusals import Refused
from services.experience_api.registry.notices import ConnectionDetails
from services.experience_api.registry.protocol import Claim
from services.experience_api.registry.tokens import TokenClaims
from services.experience_api.sessions.changes import Change, wanted_of
from services.experience_api.sessions.slots import ConnectionSlot

TOKEN = TokenClaims("demo", b"hash")


class Recorder:
    """A connection that records why it was ended."""

    def __init__(self, *, alive: bool = True) -> None:
        self.reasons: list[CloseReason] = []
        self.waits: list[float | None] = []
        self.subscribed: list[tuple[tuple[str, ...], str]] = []
        self._alive = alive
        self.changed_at: bytes | None = None

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        self.reasons.append(reason)
        self.waits.append(wait)

    async def responds(self, timeout: float) -> bool:
        return self._alive

    @property
    def position(self) -> Callable[[], Position]:
        return lambda: Position(b"cursor", 2, live=False)

    def progress(self) -> Progress:
        return Progress(10, 20)

    def subscribe(self, interest: Interest, reason: str) -> Awaitable[bytes | None]:
        self.subscribed.append((interest.patterns, reason))
        return Nothing()


class Nothing(Awaitable[bytes | None]):
    """A change that nobody waits for."""

    def __await__(self) -> Generator[None, None, bytes | None]:
        raise NotImplementedError


def admitted(channels: str | None = None) -> ConnectionSlot:
    """Return a slot whose client may read two channels."""
    slot = ConnectionSlot(uuid.uuid4(), TOKEN)
    admit(slot, channels)
    return slot


def admit(slot: ConnectionSlot, channels: str | None = None) -> None:
    claim = Claim("demo", slot.connection_id, 1, ("a", "b"), may_send=False)
    slot.admit(
        claim,
        wanted_of(channels),
        lambda permitted: Subscriber(slot.connection_id, "demo", narrow(permitted, channels)),
    )


async def test_a_slot_without_a_connection_counts_as_alive() -> None:
    assert await ConnectionSlot(uuid.uuid4(), TOKEN).responds(0)


async def test_a_slot_whose_peer_has_disconnected_is_not_alive() -> None:
    assert not await ConnectionSlot(uuid.uuid4(), TOKEN, lambda: True).responds(0)


async def test_an_attached_connection_is_probed() -> None:
    for alive in (True, False):
        slot = ConnectionSlot(uuid.uuid4(), TOKEN)
        slot.attach(Recorder(alive=alive))
        assert await slot.responds(0) is alive


async def test_a_lost_slot_ends_its_connection_once_with_the_first_reason() -> None:
    slot, connection = ConnectionSlot(uuid.uuid4(), TOKEN), Recorder()
    slot.attach(connection)
    slot.lose(REPLACED)
    slot.lose(CLAIM_LOST)
    assert connection.reasons == [REPLACED]
    assert not await slot.responds(0)


def test_a_slot_lost_before_attaching_ends_the_attached_connection() -> None:
    slot, connection = ConnectionSlot(uuid.uuid4(), TOKEN), Recorder()
    slot.lose(REPLACED)
    slot.attach(connection)
    assert connection.reasons == [REPLACED]


def test_the_time_to_wait_of_a_lost_slot_is_the_connections() -> None:
    before, after = ConnectionSlot(uuid.uuid4(), TOKEN), ConnectionSlot(uuid.uuid4(), TOKEN)
    connection = Recorder()
    before.lose(CLAIM_LOST, 2.5)
    before.attach(connection)
    after.attach(connection)
    after.lose(CLAIM_LOST, 3.5)
    assert connection.waits == [2.5, 3.5]


def test_an_attached_connection_receives_what_is_granted_and_what_it_asks_for() -> None:
    slot, connection = admitted("a"), Recorder()
    slot.attach(connection)
    slot.grant(("a", "b"))
    assert connection.subscribed == []
    slot.grant(("b",))
    slot.grant(("a", "b", "c"))
    made = slot.change(Change(slot.connection_id, None, ("c",)))
    assert made is not None
    assert connection.subscribed == [((), "granted"), (("a",), "granted"), (("a", "c"), "requested")]
    assert slot.subscriber.interest.patterns == ("a", "c")
    with pytest.raises(Refused):
        slot.change(Change(slot.connection_id, None, ("d",)))
    assert slot.wanted.names == frozenset({"a", "c"})


def test_what_changes_before_the_connection_is_attached_holds_once_it_is() -> None:
    slot, connection = admitted(), Recorder()
    slot.grant(("b",))
    assert slot.change(Change(slot.connection_id, ("b",))) is None
    assert slot.subscriber.interest.patterns == ("b",)
    slot.attach(connection)
    assert connection.subscribed == [(("b",), "granted")]


def test_a_snapshot_is_of_what_the_connection_receives() -> None:
    slot = admitted("a")
    slot.snapshot = False
    assert slot.snapshot_of is None
    slot.snapshot = True
    assert slot.snapshot_of == slot.subscriber.interest


def test_a_grant_that_overtakes_the_answer_to_the_claim_counts() -> None:
    slot = ConnectionSlot(uuid.uuid4(), TOKEN)
    slot.grant(("b",))
    assert not slot.admitted
    admit(slot)
    assert slot.subscriber.interest.patterns == ("b",)
    assert slot.permitted == ("b",)


def test_a_connection_is_described_while_it_is_attached_and_holds_its_claim() -> None:
    slot = admitted("a")
    assert slot.details() is None
    slot.attach(Recorder())
    expected = ConnectionDetails(slot.connection_id, ("a",), "cursor", 2, live=False, buffered=10, acknowledged=20)
    assert slot.details() == expected
    changed = Recorder()
    changed.changed_at = b"later"
    slot.attach(changed)
    assert slot.details() == msgspec.structs.replace(expected, changed="later")
    slot.lose(REPLACED)
    assert slot.details() is None
