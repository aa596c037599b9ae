"""The header `traceparent`, by the text of W3C Trace Context."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.events.telemetry import Traceparent, continue_trace, new_trace, parse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("03", True), ("fe", False)])
def test_the_examples_of_the_standard_are_read(flags: str, sampled: bool) -> None:
    assert parse(f"00-{TRACE}-{SPAN}-{flags}") == Traceparent(TRACE, SPAN, sampled)


def test_a_later_version_is_read_up_to_what_version_00_defines() -> None:
    assert parse(f"cc-{TRACE}-{SPAN}-01-what-will-be") == Traceparent(TRACE, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01x",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 500}",
    ],
)
def test_what_the_standard_forbids_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="W3C Trace Context"):
        parse(text)


def test_what_is_written_is_read_again() -> None:
    for sampled in (True, False):
        trace = new_trace(random.Random(1))._replace(sampled=sampled)
        assert parse(str(trace)) == trace


def test_the_trace_of_a_caller_continues_in_a_new_span() -> None:
    continued = continue_trace(f"00-{TRACE}-{SPAN}-00", random.Random(1))
    assert (continued.trace, continued.sampled) == (TRACE, False)
    assert continued.span != SPAN


@pytest.mark.parametrize("header", [None, "nonsense"])
def test_without_a_valid_header_a_new_trace_starts(header: str | None) -> None:
    assert parse(str(continue_trace(header, random.Random(1)))).sampled


class Zeros(random.Random):
    def getrandbits(self, k: int, /) -> int:
        return 0


def test_an_identity_is_never_zero() -> None:
    assert str(new_trace(Zeros())) == f"00-{'0' * 31}1-{'0' * 15}1-01"


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Malformed):
        assert parse(str(parse(text))).trace in text
