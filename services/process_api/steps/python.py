"""`- python: shop.orders:enrich`: a function of yours, `function(data)` or `function(data, event)`."""

import importlib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field

from services.process_api.draft import Draft
from services.process_api.expression import exact
from services.process_api.nodes import Node, Raw
from shared.errors import Malformed, Unavailable
from shared.settings import Options

_encode = msgspec.json.Encoder(decimal_format="number").encode
_check_json = msgspec.json.Decoder(Raw).decode
_NAME = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
_WITH_EVENT = 2


def _names_a_function(written: str) -> str:
    if not re.fullmatch(_NAME, written):
        raise ValueError(f"{written[:80]!r} names no function: expected 'package.module:name'")
    return written


class PythonOptions(Options):
    """Calls a function on each entity."""

    python: Annotated[str, AfterValidator(_names_a_function), Field(json_schema_extra={"pattern": _NAME})]
    """Where the function is, as `package.module:name`; PYTHONPATH is searched.

    It is given the entity, and if it takes two arguments, a dict of the event's attributes. It returns the new entity;
    or None, and the event goes no further; or a list, an event for each of its items. It must give the same for the
    same event, and be quick: while it runs, nothing else does. What it raises sends the event to the dead letter, but
    for `shared.errors.Unavailable`, on which the partition waits and the event comes again. Numbers are exact: a
    fraction that no float holds is a Decimal.
    """


class Python:
    """The step."""

    def __init__(self, options: PythonOptions) -> None:
        """Import the function.

        Raises:
            ValueError: there is none, or it takes other arguments.
        """
        self._name = options.python
        self._function, self._with_event = load(options.python)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the events that the function makes of this one."""
        returned = self._call(draft)
        if returned is None:
            return ()
        entities = [self._node(item) for item in returned] if isinstance(returned, list) else [self._node(returned)]
        if len(entities) > 1:
            return draft.several(entities)
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
        except BaseException as exc:  # whatever it is, `sys.exit` too, it concerns this event alone
            raise Malformed(f"{self._name} raised {type(exc).__name__}: {exc}") from exc

    def _node(self, entity: Any) -> Node:
        try:
            written = _encode(entity)
            made = _check_json(written)
            # What msgspec writes for a float that is no number.
            finite = b"null" not in written or _finite(msgspec.to_builtins(entity))
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as exc:
            raise Malformed(f"{self._name} returned what is no JSON: {exc}") from exc
        if not finite:
            raise Malformed(f"{self._name} returned what is no JSON: a number is infinite, or none")
        return made


def _finite(value: Any) -> bool:
    """Whether every float in plain values is a number."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list | tuple) else True


def load(name: str) -> tuple[Callable[..., Any], bool]:
    """Import a function by `module:name`; return it, and whether it takes the attributes, too.

    Raises:
        ValueError: it cannot be imported, or called with one argument or two, or is asynchronous.
    """
    module, _, attribute = name.partition(":")
    try:
        function: Any = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except (Exception, SystemExit) as exc:  # a module may raise anything while it is imported
        raise ValueError(f"{name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise ValueError(f"{name} is not a plain function; one that awaits cannot be a step")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return function, False  # built in, and silent about what it takes
    for count in (1, _WITH_EVENT):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return function, count == _WITH_EVENT
    raise ValueError(f"{name} takes {signature}, expected (data) or (data, event)")
