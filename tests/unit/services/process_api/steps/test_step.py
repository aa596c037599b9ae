"""The words that steps are written with."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.process_api.steps.step import ChannelName, ExpressionText, PathText


@pytest.mark.parametrize(
    ("kind", "well", "wrong", "reason"),
    [
        (ExpressionText, "a > 1", "a >", "does not compile"),
        (ExpressionText, "$uppercase(a)", "$upercase(a)", "unknown function"),
        (PathText, "data.a", "data.", "is no path"),
        (ChannelName, "orders.eu", "orders/eu", "expected dotted words"),
    ],
)
def test_what_is_wrong_is_said_when_settings_are_read(kind: Any, well: str, wrong: str, reason: str) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    assert adapter.validate_python(well) == well
    with pytest.raises(ValidationError, match=reason):
        adapter.validate_python(wrong)
