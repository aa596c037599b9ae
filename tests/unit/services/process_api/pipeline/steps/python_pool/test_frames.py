"""Messages."""

from services.process_api.pipeline.steps.python_pool.frames import HEAD, Kind, frame


def test_a_message_says_what_it_holds_and_how_long_it_is() -> None:
    written = frame(Kind.CALL, b"[1]")
    assert HEAD.unpack(written[: HEAD.size]) == (Kind.CALL, 3)
    assert written[HEAD.size :] == b"[1]"
