import pytest

from services.experience_api.refusals import UNAVAILABLE, Refused
from services.experience_api.sessions.late_bound import Awaited


def test_a_part_is_there_between_coming_and_going() -> None:
    part: Awaited[str] = Awaited("the database")
    with pytest.raises(Refused, match="the database is not there yet") as refused:
        part.get()
    assert refused.value.refusal is UNAVAILABLE
    assert refused.value.retry_after is not None
    part.came("here")
    assert part.get() == "here"
    part.went()
    with pytest.raises(Refused):
        part.get()
