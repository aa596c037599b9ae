"""The kinds of sources: to add one, add its package and one member to `_OwnKinds`.

Installed distributions add kinds by an entry point of the group `trelay.sources`: its name is the kind, its value the
class of the settings. docs/sources/your-own.md shows one.
"""

import logging
import random
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import Field

from services.system_api.sources.file.opening import FileSourceKind
from services.system_api.sources.http.polling.opening import HttpSourceKind
from services.system_api.sources.http.streaming.opening import SseSourceKind, WebSocketSourceKind
from services.system_api.sources.http.webhook.opening import WebhookSourceKind
from services.system_api.sources.queue.kafka.opening import KafkaSourceKind
from services.system_api.sources.queue.mqtt.opening import MqttSourceKind
from services.system_api.sources.queue.nats.opening import NatsSourceKind
from services.system_api.sources.queue.rabbitmq.opening import RabbitmqSourceKind
from services.system_api.sources.queue.redis.opening import RedisSourceKind
from services.system_api.sources.queue.sqs.opening import SqsSourceKind
from services.system_api.sources.source import SourceOpener, SourceOptions
from services.system_api.sources.table.opening import TableSourceKind
from shared.errors import SettingsError
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

GROUP = "trelay.sources"
"""The group of the entry points."""

_OwnKinds = (
    FileSourceKind
    | HttpSourceKind
    | KafkaSourceKind
    | MqttSourceKind
    | NatsSourceKind
    | RabbitmqSourceKind
    | RedisSourceKind
    | SseSourceKind
    | SqsSourceKind
    | TableSourceKind
    | WebhookSourceKind
    | WebSocketSourceKind
)


def installed_kinds(found: list[EntryPoint], own: set[str]) -> list[type[SourceOptions]]:
    """Return the kinds that entry points name. One that cannot be loaded is left out, with a log line.

    Its sources are then refused as being of an unknown kind, while all others work.
    """
    kinds: list[type[SourceOptions]] = []
    for entry in sorted(found, key=lambda entry: entry.name):
        try:
            loaded = _checked(entry, own | {kind_of(each) for each in kinds})
        except Exception as exc:  # noqa: BLE001 -- foreign code must not keep the service from starting
            fields = {"kind": entry.name, "entry_point": entry.value, "error": f"{type(exc).__name__}: {exc}"}
            logger.error("source kind cannot be loaded", extra=fields)  # noqa: TRY400 -- the error says enough
        else:
            kinds.append(loaded)
    return kinds


def kind_of(options: type[SourceOptions]) -> str:
    """Return the `kind` of a class of settings; empty if it declares none."""
    field = options.model_fields.get("kind")
    names = () if field is None else get_args(field.annotation)
    return str(names[0]) if len(names) == 1 else ""


def _checked(entry: EntryPoint, known: set[str]) -> type[SourceOptions]:
    loaded: Any = entry.load()
    if not (isinstance(loaded, type) and issubclass(loaded, SourceOptions)):
        raise SettingsError(f"found {loaded!r}; expected a class that derives from SourceOptions")
    if kind_of(loaded) != entry.name:
        raise SettingsError(f"found kind {kind_of(loaded)!r}; expected `kind: Literal[{entry.name!r}]`")
    if entry.name in known:
        raise SettingsError("there is a kind of this name already")
    if not callable(getattr(loaded, "opener", None)):
        raise SettingsError("found no method `opener`")
    return loaded


if TYPE_CHECKING:
    AnySource = Annotated[_OwnKinds, Field(discriminator="kind")]
else:
    _own = get_args(_OwnKinds)
    _others = installed_kinds(list(entry_points(group=GROUP)), {kind_of(each) for each in _own})
    AnySource = Annotated[Union[(*_own, *_others)], Field(discriminator="kind")]
"""The settings of one source, by `kind`. Each class has `opener`, which connects them to the code that reads."""


def build_source(name: str, options: AnySource, clock: Clock, rng: random.Random) -> SourceOpener:
    """Return what opens a source. mypy checks that every kind of this distribution has an `opener`."""
    return options.opener(name, clock, rng)
