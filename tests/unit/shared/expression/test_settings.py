from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.expression.settings import ExpressionText, ValueExpressionText


@pytest.mark.parametrize(
    ("kind", "valid", "invalid", "reason"),
    [
        (ExpressionText, "a > 1", "a >", "does not compile"),
        (ExpressionText, "$uppercase(a)", "$upercase(a)", "unknown function"),
        (ExpressionText, "$event.type", "$evnt.type", r"did you mean \$event"),
        (ValueExpressionText, "items", "$event.type", r"unknown variable \$event .*: none is bound there"),
    ],
)
def test_malformed_expressions_are_refused_when_settings_are_read(
    kind: Any, valid: str, invalid: str, reason: str
) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    assert adapter.validate_python(valid) == valid
    with pytest.raises(ValidationError, match=reason):
        adapter.validate_python(invalid)
