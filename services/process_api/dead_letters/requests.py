"""What a request asks of dead letters: its members, checked. No I/O."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from services.process_api.dead_letters.cursor import digest
from services.process_api.dead_letters.decisions import Status
from services.process_api.dead_letters.filters import FILTERS, LetterFilter
from services.process_api.dead_letters.places import Place, parse_place
from services.process_api.dead_letters.replays import Edit
from shared.errors import Malformed
from shared.events.event import Channel, channel
from shared.http.command_bodies import parse_reason

PAGE = 50
"""Letters of a page, unless the request says otherwise."""
PAGE_LIMIT = 1000
"""Letters of a page, or ids of a request, at most."""
_EXPECTED_TO = '`to`: expected "pipeline", {"pipeline": "name"} or {"channel": "name"}'

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Which letters are listed."""

    wanted: LetterFilter
    status: Status | None
    """None for all."""
    limit: int
    newest_first: bool
    cursor: str | None
    digest: str

    @classmethod
    def parse(cls, query: Mapping[str, str], *, counts: bool = False) -> Self:
        """Take the parameters of a URL; where it only `counts`, they are in no order and have no limit.

        Raises:
            Malformed: one is unknown, or not what was expected.
        """
        known = FILTERS | {"status", "cursor"}
        _check_names(query, known if counts else known | {"limit", "order"}, "parameter")
        status, order, limit = query.get("status", "open"), query.get("order", "newest"), query.get("limit")
        if status not in {*Status, "all"}:
            raise Malformed(f"status: found {status[:60]!r}; expected {', '.join(Status)} or all")
        if order not in {"newest", "oldest"}:
            raise Malformed(f"order: found {order[:60]!r}; expected newest or oldest")
        if limit is not None and not (limit.isascii() and limit.isdigit() and 0 < int(limit[:9]) <= PAGE_LIMIT):
            raise Malformed(f"limit: found {limit[:20]!r}; expected a number from 1 to {PAGE_LIMIT}")
        return cls(
            LetterFilter.parse(query),
            None if status == "all" else Status(status),
            PAGE if limit is None else int(limit),
            order == "newest" and not counts,
            query.get("cursor"),
            digest({"counts": counts, **{name: query[name] for name in query.keys() - {"cursor", "limit"}}}),
        )


@dataclass(frozen=True, slots=True)
class DecideRequest:
    """Which open letters are replayed or dropped, and how."""

    status: Status
    """What they become."""
    ids: tuple[Place, ...] | None
    """The letters; None for those that the filter matches."""
    wanted: LetterFilter
    channel: Channel | None
    """Of a replay: where to; None for a pipeline."""
    pipeline: str
    """The name of that pipeline; empty for the one that refused the event."""
    edit: Edit | None
    reason: str
    dry_run: bool
    cursor: str | None
    digest: str

    @property
    def to(self) -> str | None:
        """Where they go, as decisions say it."""
        if self.status is Status.DROPPED:
            return None
        if self.channel is not None:
            return f"channel:{self.channel}"
        return f"pipeline:{self.pipeline}" if self.pipeline else "pipeline"

    @classmethod
    def parse(cls, status: Status, body: bytes) -> Self:
        """Take the body of a request.

        Raises:
            Malformed: it is no JSON object, or a member is unknown, or not what was expected.
        """
        try:
            raw = _members(body or b"{}")
            given: dict[str, Any] = {
                name: msgspec.json.decode(value) for name, value in raw.items() if name not in {"event", "data"}
            }
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Malformed(f"the body: expected a JSON object: {exc}") from exc
        replay = status is Status.REPLAYED
        _check_names(raw, _MEMBERS | _MEMBERS_OF_REPLAY if replay else _MEMBERS, "member")
        ids = _ids(given.get("ids"))
        edit = _edit(raw, ids)
        wanted = LetterFilter.parse(given)
        _check_selection(ids, wanted, given)
        cursor = given.get("cursor")
        if cursor is not None and not isinstance(cursor, str):
            raise Malformed("cursor: expected text")
        asked = {name: bytes(value).hex() for name, value in raw.items() if name not in {"cursor", "dry_run"}}
        return cls(
            status,
            ids,
            wanted,
            *_target(given.get("to", "pipeline")),
            edit,
            parse_reason(given),
            _flag(given, "dry_run"),
            cursor,
            digest({"status": status, **asked}),
        )


_MEMBERS = FILTERS | {"ids", "all", "reason", "dry_run", "cursor"}
_MEMBERS_OF_REPLAY = frozenset({"to", "event", "data"})


def _check_selection(ids: tuple[Place, ...] | None, wanted: LetterFilter, given: Mapping[str, Any]) -> None:
    """Check that a request says which letters it is about: all of them only where it says so."""
    everything = _flag(given, "all")
    if ids is not None and (everything or not wanted.empty):
        raise Malformed("`ids` name the letters; expected no filter and no `all` beside them")
    if ids is None and wanted.empty and not everything:
        raise Malformed(f"which letters? Expected `ids`, a filter ({', '.join(sorted(FILTERS))}) or `all`: true")


def _ids(given: Any) -> tuple[Place, ...] | None:
    if given is None:
        return None
    if (
        not isinstance(given, list)
        or not 0 < len(given) <= PAGE_LIMIT
        or not all(isinstance(each, str) for each in given)
    ):
        raise Malformed(f"ids: expected a list of 1 to {PAGE_LIMIT} ids, such as '0-4711'")
    return tuple(sorted({parse_place(each) for each in given}))


def _edit(raw: Mapping[str, msgspec.Raw], ids: tuple[Place, ...] | None) -> Edit | None:
    found = {name: bytes(raw[name]) for name in ("event", "data") if name in raw}
    if not found:
        return None
    if len(found) > 1:
        raise Malformed("`event` and `data` exclude one another; expected one of them")
    if ids is None or len(ids) != 1:
        raise Malformed("an edited event belongs to one letter; expected `ids` with one id")
    return Edit(**found)


def _target(to: Any) -> tuple[Channel | None, str]:
    """Return the channel, or None and the name of the pipeline."""
    match to:
        case "pipeline":
            return None, ""
        case {"pipeline": str(name), **rest} if not rest and name:
            return None, name
        case {"channel": str(name), **rest} if not rest:
            return channel(name), ""
        case _:
            raise Malformed(_EXPECTED_TO)


def _flag(given: Mapping[str, Any], name: str) -> bool:
    found = given.get(name, False)
    if not isinstance(found, bool):
        raise Malformed(f"{name}: expected true or false")
    return found


def _check_names(given: Collection[str], known: Collection[str], what: str) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise Malformed(f"found the {what} {unknown[0][:60]!r}; expected {', '.join(sorted(known))}")
