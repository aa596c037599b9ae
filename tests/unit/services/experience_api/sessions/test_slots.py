import uuid

from services.experience_api.hub.close_codes import CLAIM_LOST, REPLACED, CloseReason
from services.experience_api.registry.tokens import TokenClaims
from services.experience_api.sessions.slots import ConnectionSlot

TOKEN = TokenClaims("demo", b"hash")


class Recorder:
    """A connection that records why it was ended."""

    def __init__(self, *, alive: bool = True) -> None:
        self.reasons: list[CloseReason] = []
        self.waits: list[float | None] = []
        self._alive = alive

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        self.reasons.append(reason)
        self.waits.append(wait)

    async def responds(self, timeout: float) -> bool:
        return self._alive


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
