"""The kinds of steps: to add one, add its module and one line to `STEPS`."""

import operator
from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, GetCoreSchemaHandler, Tag
from pydantic_core import CoreSchema

from services.process_api.pipeline.steps.call.call import CallOptions
from services.process_api.pipeline.steps.drop import DropOptions
from services.process_api.pipeline.steps.fields.convert import ConvertOptions
from services.process_api.pipeline.steps.fields.mask import MaskOptions
from services.process_api.pipeline.steps.filter import FilterOptions
from services.process_api.pipeline.steps.flow.branch import BranchOptions
from services.process_api.pipeline.steps.flow.emit import EmitOptions
from services.process_api.pipeline.steps.flow.foreach import ForeachOptions
from services.process_api.pipeline.steps.flow.parallel import ParallelOptions
from services.process_api.pipeline.steps.flow.repartition import RepartitionOptions
from services.process_api.pipeline.steps.flow.split import SplitOptions
from services.process_api.pipeline.steps.flow.use import UseOptions
from services.process_api.pipeline.steps.lookup.enrich import EnrichOptions
from services.process_api.pipeline.steps.map import MapOptions
from services.process_api.pipeline.steps.python import PythonOptions
from services.process_api.pipeline.steps.rename import RenameOptions
from services.process_api.pipeline.steps.route import RouteOptions
from services.process_api.pipeline.steps.set import SetOptions
from services.process_api.pipeline.steps.stateful.aggregate import AggregateOptions
from services.process_api.pipeline.steps.stateful.dedupe import DedupeOptions
from services.process_api.pipeline.steps.stateful.join import JoinOptions
from services.process_api.pipeline.steps.stateful.latest import LatestOptions
from services.process_api.pipeline.steps.stateful.schedule import ScheduleOptions
from services.process_api.pipeline.steps.stateful.table import TableOptions
from services.process_api.pipeline.steps.step import StepOptions
from services.process_api.pipeline.steps.validate import ValidateOptions
from shared.settings.suggestions import unknown_key

STEPS: tuple[type[StepOptions], ...] = (
    FilterOptions,
    MapOptions,
    SetOptions,
    DropOptions,
    RenameOptions,
    RouteOptions,
    RepartitionOptions,
    ValidateOptions,
    PythonOptions,
    MaskOptions,
    ConvertOptions,
    EnrichOptions,
    CallOptions,
    BranchOptions,
    ParallelOptions,
    ForeachOptions,
    SplitOptions,
    EmitOptions,
    UseOptions,
    DedupeOptions,
    LatestOptions,
    ScheduleOptions,
    AggregateOptions,
    JoinOptions,
    TableOptions,
)

_KINDS = [step.kind for step in STEPS]


def _kind_of(written: Any) -> str | None:
    """Return the one key that a step is written with."""
    if isinstance(written, StepOptions):
        return written.kind
    return next(iter(written), None) if isinstance(written, Mapping) else None


def _one_key(written: Any) -> Any:
    if isinstance(written, StepOptions):
        return written
    if not isinstance(written, dict) or len(written) != 1:
        raise ValueError("expected one step with its settings, such as {filter: amount > 100}")
    kind = str(_kind_of(written))
    if kind not in _KINDS:
        raise ValueError(unknown_key(kind, _KINDS))
    return written


def _tag(kind: str | None) -> str:
    # Unlike any key of a step: the place in an error is made of keys and tags alike.
    return f"{kind} step"


class _OneOfSteps:
    """Makes pydantic read and write each step by the class of its kind."""

    @staticmethod
    def __get_pydantic_core_schema__(_source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        members = [Annotated[step, Tag(_tag(step.kind))] for step in STEPS]
        union: Any = reduce(operator.or_, members)
        return handler.generate_schema(Annotated[union, Discriminator(lambda written: _tag(_kind_of(written)))])


AnyStep = Annotated[StepOptions, _OneOfSteps, BeforeValidator(_one_key)]
"""The settings of one step: a mapping of one key, its kind."""
