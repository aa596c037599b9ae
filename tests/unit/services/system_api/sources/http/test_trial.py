"""Expressions that do not terminate are found before a source reads."""

import pytest

from services.system_api.sources.http.trial import Trial, faults
from shared.errors import SettingsError
from shared.expression import trial

ENDLESS = "($f := function($x){$f($x)}; $f(1))"


def test_an_expression_that_does_not_terminate_has_the_place_of_its_setting() -> None:
    found = faults(("system", "sources", "orders"), {"id": "$string(id)", "pagination.more": ENDLESS})
    assert [fault.path for fault in found] == [("system", "sources", "orders", "pagination", "more")]


async def test_a_source_with_such_an_expression_is_not_opened() -> None:
    with pytest.raises(SettingsError, match=r"^system\.sources\.orders\.pagination\.more: "):
        await Trial("system.sources.orders", {"pagination.more": ENDLESS}).check()


async def test_plain_expressions_and_those_that_have_passed_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[str]] = []

    def recorded(expressions: list[str]) -> dict[str, str]:
        tried.append(expressions)
        return {}

    monkeypatch.setattr(trial, "faults", recorded)
    one = Trial("place", {"id": "id", "more": "$count(items) > 0"})
    await one.check()
    await one.check()
    assert tried == [["$count(items) > 0"]]
