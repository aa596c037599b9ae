"""Look-ups whose answers are given."""

from collections.abc import Mapping, Sequence

from services.process_api.pipeline.steps.context import Found
from services.process_api.pipeline.steps.lookup.answered import AnsweredBackend
from services.process_api.pipeline.steps.lookup.keys import Key
from shared.http.client.client import Request, Response

KEYS = [Key(name, name) for name in ("known", "absent", "other")]


class Given:
    """Knows two keys."""

    live = True

    def __init__(self) -> None:
        self.queried: list[str] = []

    def of_key(self, place: str, key: str) -> Found | None:
        assert place == "steps.0.enrich"
        return {"known": Found(b"1"), "absent": Found(None)}.get(key)

    def of_request(self, place: str, request: Request) -> Response | None:
        raise NotImplementedError

    def check_query(self, place: str, key: str) -> None:
        self.queried.append(f"{place} {key}")


class Other:
    """Has a value for every key."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def fetch(self, keys: Sequence[Key]) -> Mapping[str, bytes]:
        self.asked += [key.name for key in keys]
        return dict.fromkeys(self.asked, b"2")


async def test_the_other_system_gets_the_keys_without_an_answer() -> None:
    answers, other = Given(), Other()
    found = await AnsweredBackend(other, answers, "steps.0.enrich", queries=True).fetch(KEYS)
    assert found == {"known": b"1", "other": b"2"}
    assert other.asked == ["other"]
    assert answers.queried == ["steps.0.enrich other"]


async def test_it_is_not_asked_where_all_keys_have_one() -> None:
    other = Other()
    assert await AnsweredBackend(other, Given(), "steps.0.enrich", queries=False).fetch(KEYS[:2]) == {"known": b"1"}
    assert other.asked == []
