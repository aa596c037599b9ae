"""The values that expressions give."""

import pytest

from services.system_api.sources.http.received.values import shown, text_value
from shared.errors import Malformed


@pytest.mark.parametrize(("found", "text"), [(b'"a\\n"', "a\n"), (b"12", "12"), (b"-1.5", "-1.5"), (b"null", None)])
def test_texts_and_numbers(found: bytes, text: str | None) -> None:
    assert text_value("id", found) == text


@pytest.mark.parametrize("found", [b"true", b"[1]", b"{}"])
def test_other_values_are_errors(found: bytes) -> None:
    with pytest.raises(Malformed, match=r"^id: the expression gives .*; expected a text or a number"):
        text_value("id", found)


def test_a_long_value_is_cut() -> None:
    assert shown(b"1" * 81) == "1" * 80 + "…"
    assert shown(b"1") == "1"
