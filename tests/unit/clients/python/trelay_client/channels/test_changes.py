"""Changes of channels, over connections that end at any time: what the program is told is what the relay sends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trelay_client import ChangeRefused, ChangeUnanswered, UsageError
from trelay_client.channels.changes import Change, Changes


def changes_of(*channels: str, **filters: str) -> Changes:
    found = Changes(channels, filters)
    found.attach(lambda: None)
    return found


def asked(changes: Changes) -> tuple[Change, dict[str, Any]]:
    found = changes.next()
    assert found is not None
    return found


def subscribed(*channels: str, reason: str = "requested") -> dict[str, Any]:
    return {"source": "/trelay", "type": "trelay.subscribed", "data": {"channels": list(channels), "reason": reason}}


def test_a_change_is_asked_for_while_there_is_a_connection_and_holds_for_the_next_one() -> None:
    changes, woken = changes_of("a", a="x > 1"), list[str]()
    assert changes.query == {"channels": "a", "filters": '{"a": "x > 1"}'}
    first = changes.add(["b", "c"], [], {"c": "y = 2"})
    assert changes.next() is None
    assert changes.waiting
    changes.connected("id", lambda: woken.append("connection"))
    second = changes.add([], ["a"], {})
    assert woken == ["connection"]
    change, body = asked(changes)
    assert (change, body) == (first, {"connection": "id", "subscribe": ("b", "c"), "filters": {"c": "y = 2"}})
    changes.made(first)
    changes.made(first)
    assert first.result.done()
    assert asked(changes) == (second, {"connection": "id", "unsubscribe": ("a",)})
    assert changes.names == ("a", "b", "c")
    changes.made(second)
    assert changes.query == {"channels": "b,c", "filters": '{"c": "y = 2"}'}
    assert (changes.next(), changes.waiting) == (None, False)
    changes.connected("another", lambda: None)
    third = changes.add(["c"], [], {"c": None})
    changes.made(asked(changes)[0])
    assert third.result.done()
    assert changes.query == {"channels": "b,c"}


def test_what_the_stream_tells_is_an_answer_as_well() -> None:
    changes = changes_of("a")
    change = changes.add(["b"], ["a"], {})
    changes.connected("id", lambda: None)
    changes.received(subscribed("b"))
    assert not change.result.done(), "it was not asked for"
    asked(changes)
    for event in (
        subscribed("b", reason="granted"),
        subscribed("a", "b"),
        subscribed("c"),
        {"type": "trelay.subscribed", "data": {"channels": "b", "reason": "requested"}},
        {"type": "trelay.subscribed"},
        {"type": "trelay.connected", "data": {"channels": ["b"], "reason": "requested"}},
    ):
        changes.received(event)
        assert not change.result.done(), event
    changes.received(subscribed("b"))
    assert change.result.done()
    assert changes.names == ("b",)
    changes.refused(change, "malformed", "too late")
    changes.received(subscribed("b"))


def test_what_a_connection_did_not_answer_is_asked_for_again() -> None:
    changes = changes_of("a")
    change = changes.add(["b"], [], {})
    changes.connected("first", lambda: None)
    asked(changes)
    changes.disconnected()
    assert (changes.next(), changes.query) == (None, {"channels": "a"})
    changes.connected("second", lambda: None)
    assert asked(changes) == (change, {"connection": "second", "subscribe": ("b",)})


def test_a_refused_change_changes_nothing_and_the_next_one_follows() -> None:
    changes = changes_of("a")
    refused, following = changes.add(["b"], [], {}), changes.add(["c"], [], {})
    changes.connected("id", lambda: None)
    changes.refused(asked(changes)[0], "channel-not-permitted", "not b")
    with pytest.raises(ChangeRefused, match=r"refused: not b \(channel-not-permitted\)") as found:
        refused.result.result()
    assert found.value.code == "channel-not-permitted"
    changes.made(asked(changes)[0])
    assert following.result.done()
    assert changes.names == ("a", "c")


def test_the_last_channel_stays() -> None:
    """Without channels, the next connection would receive all."""
    changes = changes_of("a")
    last, more, first = changes.add([], ["a"], {}), changes.add(["b"], [], {}), changes.add([], ["a"], {})
    changes.connected("id", lambda: None)
    assert asked(changes)[0] is more
    with pytest.raises(UsageError, match="no channel that is left"):
        last.result.result()
    changes.made(more)
    changes.made(asked(changes)[0])
    assert first.result.done()
    assert changes.names == ("b",)


def test_a_list_that_fits_into_no_url_is_refused() -> None:
    """The relay would take the change, and refuse the connection that resumes."""
    changes = changes_of("a")
    many = changes.add([f"user.{number:05}.{'x' * 60}" for number in range(900)], [], {})
    changes.connected("id", lambda: None)
    assert changes.next() is None
    with pytest.raises(UsageError, match="characters in a URL; expected at most 60000"):
        many.result.result()
    with pytest.raises(UsageError, match="characters in a URL"):
        Changes([f"{number:05}.{'x' * 190}" for number in range(400)], {})


def test_the_end_of_the_subscription_is_the_answer_to_what_waits() -> None:
    changes = changes_of("a")
    change = changes.add(["b"], [], {})
    changes.end("disabled")
    with pytest.raises(ChangeUnanswered, match="disabled"):
        change.result.result()
    with pytest.raises(ChangeUnanswered, match="disabled"):
        changes.add(["b"], [], {})
    changes.detach("over")
    assert not changes.add(["b"], [], {}).result.done(), "it waits for another subscription"


@pytest.mark.parametrize("names", [[""], ["a,b"], [" a"], []])
def test_what_cannot_be_a_channel_is_refused(names: list[str]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Changes(names, {})
    with pytest.raises(UsageError, match="expected"):
        changes_of("a").add(names, [], {})
    with pytest.raises(UsageError, match="expected"):
        changes_of("a").add([], names, {})


def test_a_text_is_no_list_and_a_filter_needs_its_channel() -> None:
    with pytest.raises(UsageError, match="expected a list of channels"):
        Changes("orders", {})
    with pytest.raises(UsageError, match="filter of 'b'"):
        Changes(["a"], {"b": "x"})
    with pytest.raises(UsageError, match="filter of 'a'"):
        changes_of("a").add(["b"], [], {"a": "x"})


names = st.lists(st.sampled_from("abc"), max_size=2)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), names, names),
        st.tuples(st.just("ask"), st.booleans(), st.booleans()),
        st.just(("connect",)),
        st.just(("lose",)),
    ),
    max_size=30,
)


class Model:
    """A relay, whose connections end and whose answers are lost."""

    def __init__(self) -> None:
        self.changes = changes_of("a")
        self.receives: set[str] = set()
        self.told = {"a"}
        """What holds by what the program was told."""
        self.added: list[Change] = []
        self.number = 0

    def add(self, subscribe: list[str], unsubscribe: list[str]) -> None:
        if subscribe or unsubscribe:
            self.added.append(self.changes.add(subscribe, unsubscribe, {}))

    def ask(self, tells: bool, answers: bool) -> None:
        if (request := self.changes.next()) is None:
            return
        change, body = request
        assert body["connection"] == f"{self.number}"
        self.receives = _after(self.receives, change)
        if tells:
            self.changes.received(subscribed(*self.receives))
        if answers:
            self.changes.made(change)

    def connect(self) -> None:
        self.number += 1
        self.receives = set(self.changes.query["channels"].split(","))
        self.changes.connected(f"{self.number}", lambda: None)

    def lose(self) -> None:
        self.changes.disconnected()

    def check(self) -> None:
        while self.added and self.added[0].result.done():
            change = self.added.pop(0)
            if change.result.exception() is None:
                self.told = _after(self.told, change)
        assert set(self.changes.names) == self.told
        assert self.changes.query == {"channels": ",".join(self.changes.names)}


def _after(channels: set[str], change: Change) -> set[str]:
    return (channels | set(change.subscribe)) - set(change.unsubscribe)


@given(operations)
def test_the_program_is_told_of_what_holds_on_this_connection_and_on_the_next(found: list[tuple[Any, ...]]) -> None:
    model = Model()
    for name, *arguments in found:
        getattr(model, name)(*arguments)
        model.check()
