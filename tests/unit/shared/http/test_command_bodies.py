"""Bodies of operators' requests."""

import jsonschema
import pytest

from shared.errors import Malformed
from shared.http.command_bodies import parse_body, parse_reason
from shared.http.openapi.endpoints import REASON


def test_a_body_is_a_json_object_of_known_members_and_may_be_empty() -> None:
    assert parse_body(b"", {"reason"}) == {}
    assert parse_body(b'{"reason": "r"}', {"reason", "to"}) == {"reason": "r"}
    assert parse_body(rb'{"to": "\\u0000"}', {"to"}) == {"to": r"\u0000"}, "a backslash, and no NUL"


@pytest.mark.parametrize(
    ("body", "members", "error"),
    [
        (b"{", {"to"}, "the body is not JSON: "),
        (b"\xff", {"to"}, "the body is not JSON: "),
        pytest.param(b"[" * 100_000, {"to"}, "the body is not JSON: ", id="deep"),
        (b"[]", {"to"}, "the body: expected a JSON object"),
        (b'{"b": 1, "a": 1}', {"to", "dry_run"}, "found the member 'a'; expected dry_run, to"),
        (b'{"a": 1}', set(), "found the member 'a'; expected an empty body"),
        (b'{"to": NaN}', {"to"}, "the body is not JSON: "),
        (rb'{"to": "\ud800"}', {"to"}, "the body is not JSON: "),
        (rb'{"to": "a\u0000"}', {"to"}, "found the character U+0000"),
        (rb'{"to": {"position": {"\\\u0000": ""}}}', {"to"}, "found the character U+0000"),
    ],
)
def test_any_other_body_is_refused_by_what_is_wrong(body: bytes, members: set[str], error: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_body(body, members)
    assert error in str(caught.value)


def test_a_reason_is_text_within_its_limit_and_empty_without_one() -> None:
    assert (parse_reason({}), parse_reason({"reason": "r" * 500})) == ("", "r" * 500)
    for given in (None, 1, "r" * 501):
        with pytest.raises(Malformed, match="reason: expected text of at most 500 characters"):
            parse_reason({"reason": given})
    with pytest.raises(Malformed, match=r"reason: found the character U\+0000"):
        parse_reason({"reason": "a\0"})


@pytest.mark.parametrize(
    ("reason", "accepted"),
    [("", True), ("two\nlines", True), ("a\n\0", False), ("\0", False), ("r" * 500, True), ("r" * 501, False)],
    ids=["empty", "lines", "nul-at-the-end", "nul", "longest", "too-long"],
)
def test_the_schema_accepts_the_reasons_that_are_accepted(reason: str, accepted: bool) -> None:
    assert jsonschema.Draft202012Validator(REASON).is_valid(reason) is accepted
    if accepted:
        assert parse_reason({"reason": reason}) == reason
    else:
        with pytest.raises(Malformed):
            parse_reason({"reason": reason})
