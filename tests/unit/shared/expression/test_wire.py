"""Messages between two processes."""

from hypothesis import given
from hypothesis import strategies as st

from shared.expression import wire

PART = st.none() | st.binary()


@given(st.binary(), PART, PART)
def test_a_request_is_read_as_it_was_written(expression: bytes, data: bytes | None, event: bytes | None) -> None:
    given_request = wire.Request(expression, data, event)
    written = wire.request(given_request)
    head, body = written[: wire.REQUEST_HEAD], written[wire.REQUEST_HEAD :]
    assert wire.request_size(head) == len(body)
    assert wire.parse_request(head, body) == given_request


@given(st.sampled_from(wire.Kind), st.binary())
def test_a_response_is_read_once_it_is_whole(kind: wire.Kind, content: bytes) -> None:
    written = wire.response(kind, content)
    assert wire.parse_response(written) == (kind, content)
    for length in {0, wire.RESPONSE_HEAD - 1, wire.RESPONSE_HEAD, len(written) - 1} - {len(written)}:
        assert wire.parse_response(written[:length]) is None
