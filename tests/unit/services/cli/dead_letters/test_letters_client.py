"""The pages of a list and the parts of a replay are put together."""

from typing import Any

import msgspec
import pytest

from services.cli.dead_letters.letters_client import LettersClient
from shared.errors import TrelayError


class Scripted(LettersClient):
    """A client whose service answers as the test says."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self.asked.append(path)
        return self.answers.pop(0)

    async def call_raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self.asked.append((body or b"").decode())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return msgspec.json.encode(answer)


def part(count: int, cursor: str | None) -> dict[str, Any]:
    return {"replayed": count, "refused": 1, "decided_before": 0, "refusals": [{"id": "0-1"}], "cursor": cursor}


async def test_pages_are_read_up_to_the_limit() -> None:
    client = Scripted({"letters": [{}, {}], "cursor": "a"}, {"letters": [{}], "cursor": "b"})
    counts: list[int] = []
    assert len(await client.listed({"status": "open"}, 3, counts.append)) == 3
    assert client.asked == ["/dead-letters?status=open&limit=3", "/dead-letters?status=open&cursor=a&limit=1"]
    assert counts == [2, 3]


async def test_the_counts_of_a_cause_are_added_up() -> None:
    group = {"stage": "s", "source": "o", "pipeline": "p", "error": "e", "newest": "2", "example": "0-1", "count": 2}
    pages = [
        {"total": 2, "ungrouped": 0, "groups": [group], "cursor": "a"},
        {"total": 4, "ungrouped": 1, "groups": [{**group, "newest": "1", "count": 3}], "cursor": None},
    ]
    found = await Scripted(*pages).counted({"status": "open"}, lambda _count: None)
    assert found == {"total": 6, "ungrouped": 1, "groups": [{**group, "newest": "2", "count": 5}]}


async def test_a_replay_goes_on_until_it_is_done() -> None:
    client = Scripted(part(5, "a"), part(3, None))
    counts: list[int] = []
    found = await client.decided("replay", {"all": True}, counts.append)
    assert (found["replayed"], found["refused"], len(found["refusals"]), found["cursor"]) == (8, 2, 2, None)
    assert client.asked[1] == '{"all":true,"cursor":"a"}'
    assert counts == [5, 8]


async def test_a_replay_that_gets_no_further_is_an_error() -> None:
    with pytest.raises(TrelayError, match="no progress"):
        await Scripted(part(0, "a")).decided("replay", {"all": True}, lambda _count: None)
