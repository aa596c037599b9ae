"""The section `bus` of the settings, which has two kinds."""

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.bus.connect import BusOptions
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions

adapter: TypeAdapter[BusOptions] = TypeAdapter(BusOptions)


@pytest.mark.parametrize(("kind", "model"), [("kafka", KafkaOptions), ("postgres", PostgresBusOptions)])
def test_the_kind_selects_the_options(kind: str, model: type) -> None:
    options = adapter.validate_python({"kind": kind, "topics": {"prefix": "staging"}})
    assert type(options) is model
    assert options.topics.publish == "staging.publish"


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"'kafka'.*'postgres'"):
        adapter.validate_python({"kind": "rabbitmq"})


def test_a_kind_refuses_the_settings_of_the_other() -> None:
    with pytest.raises(ValidationError, match="servers"):
        adapter.validate_python({"kind": "postgres", "servers": "127.0.0.1:9092"})
