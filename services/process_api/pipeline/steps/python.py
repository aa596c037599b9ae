"""`- python: shop.orders:enrich`: calls a function of the user, `function(data)` or `function(data, event)`."""

import importlib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import AfterValidator, Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, Step, StepOptions
from shared.errors import Malformed, Unavailable
from shared.events.event import check_data
from shared.expression import exact
from shared.expression.nodes import Node, Raw

_encode = msgspec.json.Encoder(decimal_format="number").encode
_check_json = msgspec.json.Decoder(Raw).decode
_NAME = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
_WITH_EVENT = 2


def _check_form(written: str) -> str:
    if not re.fullmatch(_NAME, written):
        raise ValueError(f"found {written[:80]!r}; expected a function as 'package.module:name'")
    return written


class PythonOptions(StepOptions):
    """Calls a Python function on each entity."""

    kind: ClassVar = "python"
    example: ClassVar = Example(
        "python: shop.orders:enrich",
        [({"data": {"price": 2, "quantity": 3}}, [{"data": {"price": 2, "quantity": 3, "total": 6}}])],
        module='def enrich(data):\n    return {**data, "total": data["price"] * data["quantity"]}\n',
    )

    python: Annotated[str, AfterValidator(_check_form), Field(json_schema_extra={"pattern": _NAME})]
    """The function, as `package.module:name`; PYTHONPATH is searched.

    It gets the entity and, if it takes two arguments, a dict of the event's attributes. It returns the new entity; or
    None, which ends the event here; or a list, which makes one event of each item. It must return the same for the same
    event, and quickly: nothing else runs meanwhile. An event for which it raises goes to the dead letter; on
    `shared.errors.Unavailable` the partition waits and the event comes again. Numbers are exact: a fraction that no
    float holds is a Decimal.
    """

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Python(self)


class Python:
    def __init__(self, options: PythonOptions) -> None:
        """Import the function.

        Raises:
            ValueError: it cannot be imported, or takes other arguments.
        """
        self._name = options.python
        self._function, self._with_event = load(options.python)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        returned = self._call(draft)
        if returned is None:
            return ()
        entities = [self._node(item) for item in returned] if isinstance(returned, list) else [self._node(returned)]
        if len(entities) > 1:
            return draft.copies_with(entities)
        for entity in entities:
            draft.replace_data(entity)
        return [draft] * len(entities)

    def _call(self, draft: Draft) -> Any:
        data = draft.data_text()
        arguments = [None if data is None else exact.value(data)]
        if self._with_event:
            arguments.append({name: exact.value(bytes(raw)) for name, raw in draft.attributes().items()})
        try:
            return self._function(*arguments)
        except (Unavailable, KeyboardInterrupt):
            raise
        except BaseException as exc:  # any error, `sys.exit` included, concerns this event alone
            raise Malformed(f"{self._name} raised {type(exc).__name__}: {exc}") from exc

    def _node(self, entity: Any) -> Node:
        try:
            written = _encode(entity)
            made = _check_json(written)
            # msgspec writes null for a float that is not a number.
            finite = b"null" not in written or _finite(msgspec.to_builtins(entity))
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as exc:
            raise Malformed(f"{self._name} returned a value that is not JSON: {exc}") from exc
        if not finite:
            raise Malformed(f"{self._name} returned a value that is not JSON: a number is infinite or NaN")
        check_data(written)
        return made


def _finite(value: Any) -> bool:
    """Whether every float in plain values is finite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list | tuple) else True


def load(name: str) -> tuple[Callable[..., Any], bool]:
    """Import a function by `module:name`; return it, and whether it takes the attributes as well.

    Raises:
        ValueError: it cannot be imported, is asynchronous, or takes neither one argument nor two.
    """
    module, _, attribute = name.partition(":")
    try:
        function: Any = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except (Exception, SystemExit) as exc:  # a module may raise anything while it is imported
        raise ValueError(f"{name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise ValueError(f"{name} is not a plain function; a coroutine function cannot be a step")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return function, False  # a builtin without a signature
    for count in (1, _WITH_EVENT):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return function, count == _WITH_EVENT
    raise ValueError(f"{name} takes {signature}, expected (data) or (data, event)")
