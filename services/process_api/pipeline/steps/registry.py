"""The one place that maps how a step is written to what it does."""

from collections.abc import Mapping
from typing import Annotated, Any, assert_never

from pydantic import BeforeValidator, Discriminator, Tag

from services.process_api.pipeline.steps.drop import Drop, DropOptions
from services.process_api.pipeline.steps.filter import Filter, FilterOptions
from services.process_api.pipeline.steps.map import Map, MapOptions
from services.process_api.pipeline.steps.python import Python, PythonOptions
from services.process_api.pipeline.steps.rename import Rename, RenameOptions
from services.process_api.pipeline.steps.route import RouteOptions, build_route
from services.process_api.pipeline.steps.set import Set, SetOptions
from services.process_api.pipeline.steps.step import Step
from services.process_api.pipeline.steps.validate import Validate, ValidateOptions
from shared.settings import Options
from shared.settings.explain import unknown_key

AnyOptions = (
    FilterOptions
    | MapOptions
    | SetOptions
    | DropOptions
    | RenameOptions
    | RouteOptions
    | ValidateOptions
    | PythonOptions
)

_KINDS: Mapping[type[Options], str] = {
    FilterOptions: "filter",
    MapOptions: "map",
    SetOptions: "set",
    DropOptions: "drop",
    RenameOptions: "rename",
    RouteOptions: "route",
    ValidateOptions: "validate",
    PythonOptions: "python",
}


def kind_of(written: Any) -> str | None:
    """Return which step it is: the one key that it is written with."""
    return next(iter(written), None) if isinstance(written, dict) else _KINDS.get(type(written))


def _one_key(written: Any) -> Any:
    if isinstance(written, Options):
        return written
    if not isinstance(written, dict) or len(written) != 1:
        raise ValueError("expected one step with its settings, such as {filter: amount > 100}")
    if kind_of(written) not in _KINDS.values():
        raise ValueError(unknown_key(str(kind_of(written)), _KINDS.values()))
    return written


StepOptions = Annotated[
    Annotated[FilterOptions, Tag("filter step")]
    | Annotated[MapOptions, Tag("map step")]
    | Annotated[SetOptions, Tag("set step")]
    | Annotated[DropOptions, Tag("drop step")]
    | Annotated[RenameOptions, Tag("rename step")]
    | Annotated[RouteOptions, Tag("route step")]
    | Annotated[ValidateOptions, Tag("validate step")]
    | Annotated[PythonOptions, Tag("python step")],
    Discriminator(lambda written: f"{kind_of(written)} step"),  # no key of any step: errors name keys and tags alike
    BeforeValidator(_one_key),
]
"""A step as it is written: a mapping of one key, which names the kind."""


def build_step(options: AnyOptions) -> Step:  # noqa: PLR0911 -- one a kind
    """Make a step.

    Raises:
        ValueError: a function cannot be imported; everything else was checked with the options.
    """
    match options:
        case FilterOptions():
            return Filter(options)
        case MapOptions():
            return Map(options)
        case SetOptions():
            return Set(options)
        case DropOptions():
            return Drop(options)
        case RenameOptions():
            return Rename(options)
        case RouteOptions():
            return build_route(options)
        case ValidateOptions():
            return Validate(options)
        case PythonOptions():
            return Python(options)
        case _:
            assert_never(options)


def expressions_of(options: AnyOptions) -> list[str]:
    """Return the expressions of a step, to be tried before it runs."""
    match options:
        case FilterOptions():
            return [options.filter]
        case MapOptions():
            return [options.map]
        case SetOptions():
            return options.expressions
        case RouteOptions():
            return [options.expression]
        case DropOptions() | RenameOptions() | ValidateOptions() | PythonOptions():
            return []
        case _:
            assert_never(options)
