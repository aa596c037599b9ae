"""Where a stream is resumed, and what identifies its messages."""

import pytest

from services.system_api.sources.http.streaming.cursors import Key, StreamState
from shared.errors import SettingsError


def published(state: StreamState, own: str | None, items: int = 1, *, last: bool = True) -> str | None:
    key = state.key(own)
    if key is None:
        return None
    state.publish(key, items, last=last)
    return key.text


def again(state: StreamState, window: int = 3) -> StreamState:
    return StreamState({"": state.save()}, window, "other")


def test_a_message_is_identified_by_its_cursor() -> None:
    state = StreamState({}, 3, "e")
    assert (state.begun, state.cursor) == (False, None)
    assert [published(state, own) for own in ("a", "b", "a", "b", "c")] == ["a", "b", None, "b.e.1", "c"]
    assert (state.begun, state.cursor) == (True, "c")
    assert again(state).cursor == "c"


def test_what_is_repeated_after_a_resumption_is_known() -> None:
    state = StreamState({}, 3, "e")
    for own in "abcd":
        published(state, own)
    state = again(state)
    assert [published(state, own) for own in ("c", "d", "e", "e")] == [None, None, "e", "e.e.1"]
    state.reconnected()
    assert [published(state, own) for own in ("e", "f")] == [None, "f"]


def test_nothing_that_was_received_and_not_published_is_taken_for_a_repeat() -> None:
    state = StreamState({}, 3, "e")
    published(state, "a")
    assert state.key("b") == Key("b", "b", 0)
    assert state.key(None) == Key("e.1", None, 1)
    state = again(state)
    assert state.cursor == "a"
    assert [published(state, own) for own in ("b", None)] == ["b", "e.1"]


def test_messages_without_a_cursor_are_numbered_across_restarts() -> None:
    state = StreamState({}, 3, "e")
    assert [published(state, None), published(state, None)] == ["e.1", "e.2"]
    assert published(again(state), None) == "e.3"
    assert state.cursor is None


def test_without_a_window_the_last_cursor_is_known() -> None:
    state = StreamState({}, 0, "e")
    published(state, "a")
    published(state, "b")
    state = again(state, window=0)
    assert [published(state, own) for own in ("b", "a")] == [None, "a"]


def test_a_message_of_which_a_part_is_published() -> None:
    state = StreamState({}, 3, "e")
    assert published(state, "a", 2, last=False) == "a"
    assert state.cursor is None
    state = again(state)
    key = state.key("a")
    assert key is not None
    assert (state.skipped(key), state.skipped(Key("b", "b", 0))) == (2, 0)
    state.publish(key, 3, last=True)
    assert (state.cursor, state.skipped(key)) == ("a", 0)


def test_a_stream_may_begin_after_a_cursor() -> None:
    state = StreamState({}, 3, "e", "a")
    assert (state.begun, state.cursor) == (False, "a")
    assert [published(state, "a"), published(state, "b")] == [None, "b"]
    assert StreamState({"": state.save()}, 3, "e", "a").cursor == "b"


@pytest.mark.parametrize(
    ("checkpoint", "error"),
    [
        ({"": b"[]"}, "not that of a stream"),
        ({"x": b"1"}, "not that of a stream"),
        ({"": b'{"v":2,"epoch":"","cursor":null,"number":0,"recent":[],"key":"","items":0}'}, "newer release"),
    ],
)
def test_another_checkpoint_is_refused(checkpoint: dict[str, bytes], error: str) -> None:
    with pytest.raises(SettingsError, match=error):
        StreamState(checkpoint, 3, "e")
