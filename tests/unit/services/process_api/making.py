"""Makes events, records and pipelines for these tests."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.step import Step, StepOptions
from services.process_api.worker.batch import Batch
from services.process_api.worker.poison import PoisonTracker
from shared.bus.memory.log import MemoryRecord
from shared.bus.protocol import Outgoing
from shared.events.headers import headers_of

_step: TypeAdapter[Any] = TypeAdapter(AnyStep)


def event(data: Any = None, /, *, text: str | None = None, **attributes: Any) -> bytes:
    """One event of the source `orders`; `text` is its entity as JSON, `data` the same as a value."""
    head = {
        "specversion": "1.0",
        "source": "/sources/orders",
        "type": "order.updated",
        "id": "orders:7",
        "subject": "C-1",
        **attributes,
    }
    written = json.dumps(head, separators=(",", ":"))
    entity = json.dumps(data, separators=(",", ":"), ensure_ascii=False) if text is None else text
    return f'{written[:-1]},"data":{entity}}}'.encode()


def without_data(**attributes: Any) -> bytes:
    """One event that has no entity, or one in `data_base64`."""
    found: dict[str, Any] = json.loads(event(None, **attributes))
    del found["data"]
    return json.dumps(found).encode()


def draft(data: Any = None, /, **attributes: Any) -> Draft:
    return Draft(event(data, **attributes))


def data_of(value: bytes) -> Any:
    return json.loads(value)["data"]


def text_of_data(value: bytes) -> str:
    """The entity's JSON text as it stands in an event."""
    return bytes(msgspec.json.decode(value, type=dict[str, msgspec.Raw])["data"]).decode()


def step_options(step: Any) -> StepOptions:
    """Return the options of a step, written as in the settings."""
    options: StepOptions = _step.validate_python(step)
    return options


def apply(step: Any, *events: Draft) -> list[Draft]:
    """Run one step, written as in the settings."""
    built = step_options(step).build(StepContext())
    assert isinstance(built, Step)
    return [made for each in events for made in built.apply(each)]


def applied(step: Any, value: bytes) -> Any:
    """Run one step on one event that becomes one; return it."""
    (made,) = apply(step, Draft(value))
    return json.loads(made.encoded(b'"c"'))


def pipeline(
    *steps: Any,
    name: str = "orders",
    channel: str | None = "orders",
    sources: Sequence[str] = ("*",),
    context: StepContext | None = None,
) -> Pipeline:
    options = PipelineOptions.model_validate({"sources": list(sources), "channel": channel, "steps": list(steps)})
    return Pipeline(name, options, context)


def run(value: bytes, *steps: Any, channel: str | None = "orders") -> list[Outgoing]:
    return pipeline(*steps, channel=channel).run(value)


def record(
    value: bytes | None, offset: int = 0, *, source: str | None = "orders", identity: str = "orders:7"
) -> MemoryRecord:
    headers = () if source is None else headers_of(f"{source} 1700000000000 {identity}".encode())
    return MemoryRecord("trelay.ingest", 0, offset, 1_700_000_000_001, b"C-1", value, headers)


def selection(*pipelines: Pipeline) -> Selection:
    return Selection([(["*"], each) for each in pipelines])


def batch(*pipelines: Pipeline) -> Batch:
    return Batch(selection(*pipelines), PoisonTracker())
