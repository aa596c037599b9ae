import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.events.telemetry import Traceparent, begin, go_on, parse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("03", True), ("fe", False)])
def test_reads_what_the_standard_shows(flags: str, sampled: bool) -> None:
    assert parse(f"00-{TRACE}-{SPAN}-{flags}") == Traceparent(TRACE, SPAN, sampled)


def test_reads_a_later_version_as_far_as_it_is_known() -> None:
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
def test_refuses_what_the_standard_does(text: str) -> None:
    with pytest.raises(Malformed, match="W3C Trace Context"):
        parse(text)


def test_what_is_written_is_read_again() -> None:
    for sampled in (True, False):
        trace = begin(random.Random(1))._replace(sampled=sampled)
        assert parse(str(trace)) == trace


def test_a_callers_trace_goes_on_in_a_span_of_its_own() -> None:
    going_on = go_on(f"00-{TRACE}-{SPAN}-00", random.Random(1))
    assert (going_on.trace, going_on.sampled) == (TRACE, False)
    assert going_on.span != SPAN


@pytest.mark.parametrize("header", [None, "nonsense"])
def test_without_one_a_trace_begins(header: str | None) -> None:
    assert parse(str(go_on(header, random.Random(1)))).sampled


class Zeros(random.Random):
    def getrandbits(self, k: int, /) -> int:
        return 0


def test_an_identity_is_never_zero() -> None:
    assert str(begin(Zeros())) == f"00-{'0' * 31}1-{'0' * 15}1-01"


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Malformed):
        assert parse(str(parse(text))).trace in text
