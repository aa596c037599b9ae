import uuid

from services.experience_api.hub.close_codes import CLAIM_LOST, REPLACED, CloseReason
from services.experience_api.seat import Seat
from services.experience_api.tokens import TokenClaims

TOKEN = TokenClaims("demo", b"hash")


class Recorder:
    """A connection that notes why it was ended."""

    def __init__(self, *, alive: bool = True) -> None:
        self.reasons: list[CloseReason] = []
        self._alive = alive

    def end(self, reason: CloseReason) -> None:
        self.reasons.append(reason)

    async def answers(self, within: float) -> bool:
        return self._alive


async def test_a_connection_on_its_way_in_counts_as_alive() -> None:
    assert await Seat(uuid.uuid4(), TOKEN).answers(0)


async def test_who_sits_here_is_asked() -> None:
    for alive in (True, False):
        seat = Seat(uuid.uuid4(), TOKEN)
        seat.occupy(Recorder(alive=alive))
        assert await seat.answers(0) is alive


async def test_a_lost_seat_ends_its_connection_once_for_the_first_reason() -> None:
    seat, connection = Seat(uuid.uuid4(), TOKEN), Recorder()
    seat.occupy(connection)
    seat.lose(REPLACED)
    seat.lose(CLAIM_LOST)
    assert connection.reasons == [REPLACED]
    assert not await seat.answers(0)


def test_a_seat_lost_before_it_is_taken_ends_whoever_takes_it() -> None:
    seat, connection = Seat(uuid.uuid4(), TOKEN), Recorder()
    seat.lose(REPLACED)
    seat.occupy(connection)
    assert connection.reasons == [REPLACED]
