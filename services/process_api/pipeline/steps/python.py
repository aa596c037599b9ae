"""`- python: shop.orders:enrich`: calls a function of the user, `function(data)` or `function(data, event)`."""

import asyncio
import importlib
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.python_pool.frames import Kind
from services.process_api.pipeline.steps.python_pool.pool import Pool
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import AnyStep, Example, StepOptions
from shared.errors import Malformed, Unavailable
from shared.events.event import check_data
from shared.expression import exact
from shared.expression.nodes import Node, Raw
from shared.runtime.tasks import cancel_requested, together, within
from shared.settings import Options

_encode = msgspec.json.Encoder(decimal_format="number").encode
_check_json = msgspec.json.Decoder(Raw).decode
_NAME = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
_WITH_EVENT = 2
_items = msgspec.json.Decoder(list[Raw]).decode


def _check_form(written: str) -> str:
    if not re.fullmatch(_NAME, written):
        raise ValueError(f"found {written[:80]!r}; expected a function as 'package.module:name'")
    return written


FunctionName = Annotated[str, AfterValidator(_check_form), Field(json_schema_extra={"pattern": _NAME})]


class PythonSettings(Options):
    """A function, and where it runs."""

    function: FunctionName
    """The function, as `package.module:name`; PYTHONPATH is searched."""

    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of the function: where there are any, it gets them as the keyword argument `settings`, a dict."""

    run: Literal["loop", "process"] = "loop"
    """`loop`: in the event loop of the replica, where nothing else runs until a plain function returns. `process`: in
    processes of its own, where it may take its time, and is killed after `timeout`. A call whose process ends otherwise
    is repeated once, in a new one. What it returns has 64 MiB at most."""

    timeout: float = Field(default=10.0, gt=0)
    """Seconds for one event, with `run: process` and for asynchronous functions. After that the event goes to the dead
    letter. A function is killed in a process; in the loop it is cancelled, and abandoned 10 seconds later."""

    processes: int = Field(default=1, ge=1, le=64)
    """Processes of each replica, with `run: process`."""

    max_concurrent: int = Field(default=8, ge=1, le=1000)
    """Events at the same time, for asynchronous functions in the loop."""


class PythonOptions(StepOptions):
    """Calls a Python function on each entity."""

    kind: ClassVar = "python"
    example: ClassVar = Example(
        "python: shop.orders:enrich",
        [({"data": {"price": 2, "quantity": 3}}, [{"data": {"price": 2, "quantity": 3, "total": 6}}])],
        module='def enrich(data):\n    return {**data, "total": data["price"] * data["quantity"]}\n',
    )

    python: Annotated[
        Annotated[PythonSettings, Tag("settings")] | Annotated[FunctionName, Tag("a function")],
        Discriminator(lambda written: "settings" if isinstance(written, dict | PythonSettings) else "a function"),
    ]
    """The function, as `package.module:name`, or settings. It is plain or asynchronous (`async def`).

    It gets the entity and, if it takes two arguments, a dict of the event's attributes. It returns the new entity; or
    None, which ends the event here; or a list, which makes one event of each item. It must return the same for the same
    event. A plain function must return quickly, or run in a process. An event for which it raises goes to the dead
    letter; on `shared.errors.Unavailable` the partition waits and the event comes again. Numbers are exact: a fraction
    that no float holds is a Decimal.
    """

    @property
    def settings(self) -> PythonSettings:
        """The settings, however they are written."""
        return PythonSettings(function=self.python) if isinstance(self.python, str) else self.python

    def build(self, context: StepContext) -> AnyStep:
        settings = self.settings
        function = Function(settings.function, settings.settings)
        if settings.run == "process":
            return PooledPython(settings, Pool(settings.function, settings.settings, settings.processes, context))
        return AsyncPython(function, settings) if function.asynchronous else Python(function)


class Function:
    """One function of the user."""

    def __init__(self, name: str, settings: Mapping[str, Any] | None = None) -> None:
        """Import the function.

        Raises:
            ValueError: it cannot be imported, or takes other arguments.
        """
        self.name = name
        self._keywords = {"settings": dict(settings)} if settings else {}
        self._function, self._with_event = load(name, self._keywords)
        self.asynchronous = inspect.iscoroutinefunction(self._function)

    def arguments(self, data: bytes | None, attributes: Mapping[str, Any] | bytes) -> list[Any]:
        """Return what the function is called with: the entity, and the attributes if it takes them."""
        arguments = [None if data is None else exact.value(data)]
        if self._with_event:
            if isinstance(attributes, Mapping):
                arguments.append({name: exact.value(bytes(raw)) for name, raw in attributes.items()})
            else:
                arguments.append(exact.value(bytes(attributes)))
        return arguments

    def called(self, arguments: Sequence[Any]) -> Any:
        """Call a plain function.

        Raises:
            Unavailable: the function does.
            Malformed: it raises anything else.
        """
        try:
            return self._function(*arguments, **self._keywords)
        except (Unavailable, KeyboardInterrupt):
            raise
        except BaseException as exc:  # any error, `sys.exit` included, concerns this event alone
            raise Malformed(f"{self.name} raised {_said(exc)}") from exc

    async def awaited(self, arguments: Sequence[Any]) -> Any:
        """Call an asynchronous function. Raises as `called` does."""
        try:
            return await self._function(*arguments, **self._keywords)
        except (Unavailable, KeyboardInterrupt):
            raise
        except BaseException as exc:
            # Its own cancellation would end the run of the whole partition.
            if isinstance(exc, asyncio.CancelledError) and cancel_requested():
                raise
            raise Malformed(f"{self.name} raised {_said(exc)}") from exc

    def entities(self, returned: Any) -> list[Node]:
        """Return the entities that the function returned.

        Raises:
            Malformed: one is not JSON.
        """
        if returned is None:
            return []
        return [self._node(item) for item in returned] if isinstance(returned, list) else [self._node(returned)]

    def _node(self, entity: Any) -> Node:
        try:
            written = _encode(entity)
            made = _check_json(written)
            # msgspec writes null for a float that is not a number.
            finite = b"null" not in written or _finite(msgspec.to_builtins(entity))
        except Exception as exc:  # objects of users may raise anything while they are encoded
            raise Malformed(f"{self.name} returned a value that is not JSON: {_said(exc)}") from exc
        if not finite:
            raise Malformed(f"{self.name} returned a value that is not JSON: a number is infinite or NaN")
        check_data(written)
        return made


class Python:
    """Calls a plain function in the event loop."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def apply(self, draft: Draft) -> Sequence[Draft]:
        function = self._function
        returned = function.called(function.arguments(draft.data_text(), draft.attributes()))
        return _events(draft, function.entities(returned))


class AsyncPython:
    """Calls an asynchronous function in the event loop."""

    def __init__(self, function: Function, settings: PythonSettings) -> None:
        self._function = function
        self._timeout = settings.timeout
        self._slots = asyncio.Semaphore(settings.max_concurrent)

    async def apply_batch(
        self, drafts: Sequence[Draft], scope: Scope
    ) -> Sequence[Sequence[Draft] | Malformed | Unavailable]:
        outcomes = await together(*(self._outcome(draft) for draft in drafts))
        scope.turns.waited()
        return outcomes

    async def _outcome(self, draft: Draft) -> Sequence[Draft] | Malformed | Unavailable:
        function = self._function
        try:
            async with self._slots:
                call = function.awaited(function.arguments(draft.data_text(), draft.attributes()))
                return _events(draft, function.entities(await within(self._timeout, function.name, call)))
        except TimeoutError:
            return Malformed(f"{function.name} took longer than {self._timeout:g} s")
        except (Malformed, Unavailable) as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 -- raised, it would call the function again for the other events
            return Malformed(_said(exc))


class PooledPython:
    """Calls a function in processes of its own."""

    def __init__(self, settings: PythonSettings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool

    async def apply_batch(
        self, drafts: Sequence[Draft], scope: Scope
    ) -> Sequence[Sequence[Draft] | Malformed | Unavailable]:
        outcomes = await together(*(self._outcome(draft) for draft in drafts))
        scope.turns.waited()
        return outcomes

    async def _outcome(self, draft: Draft) -> Sequence[Draft] | Malformed | Unavailable:
        name, timeout = self._settings.function, self._settings.timeout
        try:
            call = _encode([Raw(draft.data_text() or b"null"), draft.attributes()])
            kind, content = await self._pool.call(call, timeout)
        except TimeoutError:
            return Malformed(f"{name} took longer than {timeout:g} s, and was killed")
        except EOFError as exc:
            return Malformed(f"{name} ended its process ({exc})")
        except (Malformed, Unavailable) as exc:
            return exc
        if kind is Kind.RETURNED:
            return _events(draft, list(_items(content)))
        text = content.decode(errors="replace")
        return Unavailable(text) if kind is Kind.UNAVAILABLE else Malformed(text)


def _said(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 -- the text of an error of users may fail as well
        return type(error).__name__


def _events(draft: Draft, entities: list[Node]) -> Sequence[Draft]:
    if len(entities) > 1:
        return draft.copies_with(entities)
    for entity in entities:
        draft.replace_data(entity)
    return [draft] * len(entities)


def _finite(value: Any) -> bool:
    """Whether every float in plain values is finite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list | tuple) else True


def load(name: str, keywords: Mapping[str, Any] | None = None) -> tuple[Callable[..., Any], bool]:
    """Import a function by `module:name`; return it, and whether it takes the attributes as well.

    Raises:
        ValueError: it cannot be imported, or takes neither one argument nor two, and the keywords.
    """
    module, _, attribute = name.partition(":")
    try:
        function: Any = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except (Exception, SystemExit) as exc:  # a module may raise anything while it is imported
        raise ValueError(f"{name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    if not callable(function):
        raise ValueError(f"{name} is not a plain function, and no asynchronous one")  # noqa: TRY004 -- of the settings
    try:
        signature = inspect.signature(function)
    except ValueError:
        return function, False  # a builtin without a signature
    for count in (1, _WITH_EVENT):
        try:
            signature.bind(*range(count), **(keywords or {}))
        except TypeError:
            continue
        return function, count == _WITH_EVENT
    expected = ", settings=…" if keywords else ""
    raise ValueError(f"{name} takes {signature}, expected (data{expected}) or (data, event{expected})")
