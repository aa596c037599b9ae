import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.refusals import CHANNEL_NOT_PERMITTED, MALFORMED, Refusal, Refused
from services.experience_api.sessions.changes import Change, Wanted, read_change, wanted_of

CONNECTION = uuid.UUID(int=7)
PERMITTED = ("orders.**", "prices")


def change(**fields: list[str]) -> Change:
    return read_change(json.dumps({"connection": str(CONNECTION), **fields}).encode())


def refusal_of(wanted: Wanted, asked: Change) -> Refusal:
    with pytest.raises(Refused) as refused:
        wanted.changed(asked, PERMITTED)
    return refused.value.refusal


def test_a_change_is_read() -> None:
    assert change(channels=["a"]) == Change(CONNECTION, ("a",))
    assert change(channels=[]) == Change(CONNECTION, ())
    assert change(subscribe=["a"], unsubscribe=["b"]) == Change(CONNECTION, None, ("a",), ("b",))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"connection": "x", "subscribe": ["a"]}',
        b'{"subscribe": ["a"]}',
        b'{"connection": "00000000-0000-0000-0000-000000000007"}',
        b'{"connection": "00000000-0000-0000-0000-000000000007", "channels": ["a"], "subscribe": ["b"]}',
        b'{"connection": "00000000-0000-0000-0000-000000000007", "subscribe": "a"}',
        b'{"connection": "00000000-0000-0000-0000-000000000007", "subscribe": ["a"], "x": 1}',
    ],
)
def test_another_body_is_refused_with_what_is_expected(body: bytes) -> None:
    with pytest.raises(Refused, match="expected") as refused:
        read_change(body)
    assert refused.value.refusal is MALFORMED


@pytest.mark.parametrize("member", ["channels", "subscribe", "unsubscribe"])
def test_more_names_than_a_connection_may_have_are_refused_at_once(member: str) -> None:
    """To look at a megabyte of them would keep the event loop, and all other subscribers, for half a second."""
    names = [f"a{number}" for number in range(1001)]
    with pytest.raises(Refused, match="found 1001 channels; the limit is 1000") as refused:
        change(**{member: names})
    assert refused.value.refusal is MALFORMED
    assert getattr(change(**{member: names[1:]}), member) == tuple(names[1:])


@pytest.mark.parametrize("fields", [{"channels": ["a"]}, {"subscribe": ["a"]}, {}], ids=["all", "more", "alone"])
def test_filters_may_be_part_of_any_change(fields: dict[str, list[str]]) -> None:
    filters = {"a": "n > 1", "b": None}
    body = {"connection": str(CONNECTION), "filters": filters, **fields}
    assert read_change(json.dumps(body).encode()).filters == filters


def filtered(filters: dict[str, str | None], **fields: tuple[str, ...]) -> Change:
    return Change(
        CONNECTION, fields.get("channels"), fields.get("subscribe", ()), fields.get("unsubscribe", ()), filters
    )


def test_filters_are_set_kept_and_removed() -> None:
    wanted = wanted_of("orders.*,prices", {"prices": "n > 1"})
    assert wanted.permitted(PERMITTED).filters == {"prices": "n > 1"}
    assert wanted.permitted(["orders.**"]).filters == {}
    wanted = wanted.changed(filtered({"orders.*": "n = 2"}, subscribe=("orders.x.y",)), PERMITTED)
    assert wanted.permitted(PERMITTED).filters == {"orders.*": "n = 2", "prices": "n > 1"}
    assert wanted.changed(filtered({"prices": None}), PERMITTED).filters == {"orders.*": "n = 2"}
    assert wanted.changed(filtered({}, unsubscribe=("prices",)), PERMITTED).filters == {"orders.*": "n = 2"}
    assert wanted.changed(filtered({}, channels=("prices",)), PERMITTED).filters == {}
    assert wanted.changed(filtered({"prices": "n = 3"}, channels=("prices",)), PERMITTED).filters == {"prices": "n = 3"}


@pytest.mark.parametrize("text", ["2s", None])
def test_conflation_may_be_changed_alone_and_is_kept_otherwise(text: str | None) -> None:
    body = {"connection": str(CONNECTION), "conflate": text}
    wanted = wanted_of("prices", conflate=0.5).changed(read_change(json.dumps(body).encode()), PERMITTED)
    assert wanted.permitted(PERMITTED).conflate == (2.0 if text else 0.0)
    kept = wanted_of(None, conflate=0.5).changed(Change(CONNECTION, subscribe=("prices",)), PERMITTED)
    assert kept.permitted(PERMITTED).conflate == 0.5
    assert refusal_of(wanted_of("prices"), Change(CONNECTION, conflate="1ms")) is MALFORMED


def test_filters_that_cannot_be_are_refused() -> None:
    assert refusal_of(wanted_of("prices"), filtered({"orders.*": "n = 1"})) is MALFORMED
    assert refusal_of(wanted_of("prices"), filtered({"prices": "n ="})) is MALFORMED
    assert refusal_of(wanted_of("prices"), filtered({"prices": "n = 1"}, unsubscribe=("prices",))) is MALFORMED
    assert refusal_of(wanted_of(None), filtered({"prices": "n = 1"})) is MALFORMED


@given(st.binary())
def test_hostile_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        read_change(body)


def test_a_connection_that_asks_for_all_receives_what_is_permitted() -> None:
    wanted = wanted_of(None)
    assert wanted.permitted(PERMITTED).patterns == ("orders.**", "prices")
    assert wanted.permitted(()).patterns == ()
    assert wanted.changed(change(subscribe=["orders.eu"]), PERMITTED) == wanted


def test_a_connection_receives_what_it_asks_for_as_far_as_it_is_permitted() -> None:
    wanted = wanted_of(" orders.eu, prices,")
    assert wanted.permitted(PERMITTED).patterns == ("orders.eu", "prices")
    assert wanted.permitted(("prices",)).patterns == ("prices",)
    assert wanted.permitted(PERMITTED).patterns == ("orders.eu", "prices")


def test_channels_are_added_taken_away_and_replaced() -> None:
    wanted = wanted_of("orders.eu")
    both = wanted.changed(change(subscribe=["prices", "orders.*"], unsubscribe=["orders.eu", "unknown"]), PERMITTED)
    assert both.names == frozenset({"prices", "orders.*"})
    assert both.changed(change(channels=["orders.us"]), PERMITTED).names == frozenset({"orders.us"})
    assert both.changed(change(channels=[]), PERMITTED).permitted(PERMITTED).patterns == ()
    assert wanted_of(None).changed(change(channels=["prices"]), PERMITTED).names == frozenset({"prices"})


def test_a_channel_that_was_taken_away_refuses_no_other_change() -> None:
    wanted = wanted_of("orders.eu,prices", {"prices": "n > 1"})
    left = ("orders.**", "stock")
    assert wanted.permitted(left).patterns == ("orders.eu",)
    more = wanted.changed(change(subscribe=["stock"]), left)
    assert more.permitted(left).patterns == ("orders.eu", "stock")
    assert more.permitted((*left, "prices")).filters == {"prices": "n > 1"}, "as it asked, once it may again"
    assert wanted.changed(filtered({"orders.eu": "n = 2"}), left).permitted(left).filters == {"orders.eu": "n = 2"}
    assert wanted.changed(change(unsubscribe=["orders.eu"]), left).permitted(left).patterns == ()
    with pytest.raises(Refused) as refused:
        wanted.changed(change(subscribe=["prices"]), left)
    assert refused.value.refusal is CHANNEL_NOT_PERMITTED


def test_what_is_not_permitted_or_not_possible_is_refused() -> None:
    wanted = wanted_of("orders.eu")
    assert refusal_of(wanted, change(subscribe=["secret"])) is CHANNEL_NOT_PERMITTED
    assert refusal_of(wanted_of(None), change(subscribe=["secret"])) is CHANNEL_NOT_PERMITTED
    assert refusal_of(wanted, change(channels=["**"])) is CHANNEL_NOT_PERMITTED
    assert refusal_of(wanted_of(None), change(unsubscribe=["prices"])) is MALFORMED
    assert refusal_of(wanted, change(subscribe=["orders.eu,prices"])) is MALFORMED
    assert refusal_of(wanted, change(subscribe=[f"orders.n{number}" for number in range(1000)])) is MALFORMED
