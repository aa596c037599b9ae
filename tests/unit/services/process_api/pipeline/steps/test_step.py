"""The types that the settings of steps are written with."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.process_api.pipeline.steps.step import ChannelName, PathText


@pytest.mark.parametrize(
    ("kind", "valid", "invalid", "reason"),
    [
        (PathText, "data.a", "data.", "is not a path"),
        (ChannelName, "orders.eu", "orders/eu", "expected dotted words"),
    ],
)
def test_malformed_values_are_refused_when_settings_are_read(kind: Any, valid: str, invalid: str, reason: str) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    assert adapter.validate_python(valid) == valid
    with pytest.raises(ValidationError, match=reason):
        adapter.validate_python(invalid)
