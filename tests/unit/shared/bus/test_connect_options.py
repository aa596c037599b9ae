"""One section, two kinds."""

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.bus.connect import BusOptions
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions

adapter: TypeAdapter[BusOptions] = TypeAdapter(BusOptions)


@pytest.mark.parametrize(("kind", "model"), [("kafka", KafkaOptions), ("postgres", PostgresBusOptions)])
def test_the_kind_decides(kind: str, model: type) -> None:
    options = adapter.validate_python({"kind": kind, "topics": {"prefix": "staging"}})
    assert type(options) is model
    assert options.topics.publish == "staging.publish"


def test_another_kind_is_refused_by_naming_those_that_there_are() -> None:
    with pytest.raises(ValidationError, match=r"'kafka'.*'postgres'"):
        adapter.validate_python({"kind": "rabbitmq"})


def test_one_kind_does_not_take_the_settings_of_the_other() -> None:
    with pytest.raises(ValidationError, match="servers"):
        adapter.validate_python({"kind": "postgres", "servers": "127.0.0.1:9092"})
