"""The settings of `call`."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.steps.call.options import CallSettings

URL = "https://a.example/x"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"url": "https://{host}/x"}, "an expression in the host"),
        ({"url": "https://a/{x +}"}, "does not compile"),
        ({"url": "ftp://a/x"}, "http"),
        ({"url": "http://127.0.0.1/{x}"}, "add it to network.allow"),
        ({"url": URL, "default": 1}, "expected one only where on_error is default"),
        ({"url": URL, "response": "a"}, "expected one only beside `into`"),
    ],
)
def test_malformed_settings_are_refused(written: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        CallSettings.model_validate(written)


def test_a_template_is_kept_as_it_is_written() -> None:
    made = CallSettings.model_validate({"url": "https://a.example/{id}", "on_error": "default", "default": 1})
    assert (made.url, made.default) == ("https://a.example/{id}", 1)
