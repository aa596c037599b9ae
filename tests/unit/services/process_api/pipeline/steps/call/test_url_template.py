"""URLs with expressions."""

from typing import Any

import pytest

from services.process_api.pipeline.steps.call.url_template import UrlTemplate, expressions_of
from shared.errors import Malformed
from tests.unit.services.process_api.making import draft


@pytest.mark.parametrize(
    ("written", "data", "expected"),
    [
        ("https://a/b", {}, "https://a/b"),
        ("https://a/{id}/c?x={ n + 1 }", {"id": "a/ü", "n": 1}, "https://a/a%2F%C3%BC/c?x=2"),
        ("https://a/{$event.id}", {}, "https://a/orders%3A7"),
    ],
)
def test_values_are_percent_encoded(written: str, data: Any, expected: str) -> None:
    assert str(UrlTemplate(written).url(draft(data))) == expected


def test_an_undefined_value_concerns_the_event() -> None:
    with pytest.raises(Malformed, match="url: id is undefined or empty for this event"):
        UrlTemplate("https://a/{id}").url(draft({}))


@pytest.mark.parametrize("value", [".", ".."])
def test_a_value_does_not_lead_to_another_resource(value: str) -> None:
    for written in ("https://a/orders/{id}", "https://a/orders/{id}/items?x=1"):
        with pytest.raises(Malformed, match=r"found '\.' or '\.\.' as a segment of the path"):
            UrlTemplate(written).url(draft({"id": value}))
    for written in ("https://a/orders/v{id}", "https://a/orders?id={id}"):
        assert str(UrlTemplate(written).url(draft({"id": value}))) == written.replace("{id}", value)
    assert str(UrlTemplate("https://a/{id}").url(draft({"id": "%2e%2e"}))) == "https://a/%252e%252e"


def test_the_host_is_constant() -> None:
    assert expressions_of("https://a.b/{x}/{y.z}") == ["x", "y.z"]
    for written in ("https://{host}/b", "https://a.{host}/b", "{scheme}://a/b", "https://a:{port}/"):
        with pytest.raises(ValueError, match="an expression in the host"):
            expressions_of(written)
    for written in ("x", "/orders/{id}", "https:///{id}"):
        with pytest.raises(ValueError, match="expected an absolute URL"):
            expressions_of(written)
    for written in ("https://a/{x", "https://a/x}"):
        with pytest.raises(ValueError, match="without its pair"):
            expressions_of(written)
