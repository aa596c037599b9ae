"""What comes of several deliveries at once."""

from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Fill, Limits, Outcome, plan

EMPTY = Fill("e", 0, 0, 0, 0)
STORED, REPEATED, FULL = Outcome.STORED, Outcome.REPEATED, Outcome.FULL


def made(*ids: str | None) -> list[Delivery]:
    return [Delivery(identity, b"12345") for identity in ids]


def digest(identity: str) -> bytes:
    return Delivery(identity, b"").digest or b""


def test_what_is_known_or_comes_twice_is_repeated() -> None:
    assert plan(made("a", "b", "a", None, None), {digest("b")}, EMPTY, Limits(10, 100)) == [
        *(STORED, REPEATED, REPEATED, STORED, STORED)
    ]


def test_a_full_inbox_takes_no_more_but_knows_repeats() -> None:
    fill = Fill("e", 7, 1, 5, 0)
    assert plan(made("a", "b", "a", "b"), (), fill, Limits(2, 100)) == [STORED, FULL, REPEATED, FULL]
    assert plan(made("a", "b"), (), fill, Limits(9, 10)) == [STORED, FULL]


def test_ids_have_digests_of_one_size() -> None:
    assert len(digest("a")) == len(digest("ä" * 200)) == 16
    assert digest("a") != digest("A")
    assert Delivery(None, b"").digest is None
