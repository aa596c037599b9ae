"""Reads requests for an explanation."""

from typing import NamedTuple

from multidict import MultiMapping

from services.experience_api.auth.credentials import CLIENT_ID
from services.experience_api.explain.audited import Audit
from services.experience_api.explain.search import Search, read_search
from services.experience_api.refusals import Refused
from services.experience_api.sessions.since import read_since
from shared.errors import Malformed

PARAMETERS = ("event", "client", "source", "since", "until", "limit", "cursor")
ID_LIMIT = 1000
"""Characters of the id of an event."""
LIMIT_MIB, MOST_MIB = 256, 16_384
"""Mebibytes of each topic that are read: by default, and at most."""
SINCE = "1h"
"""Where the range of times begins by default."""
_MIB = 1_048_576
_LATEST = 253_370_764_800_000
"""Milliseconds from 1970 to the year 9999: the last time that can be shown."""
_SOURCE_LIMIT = 200


class Asked(NamedTuple):
    """What is asked for."""

    client_id: str
    search: Search


def read_explain(query: MultiMapping[str], now: float) -> Asked:
    """Read the parameters of a request at the time `now`.

    Raises:
        Malformed: one is missing or invalid; the text names it.
    """
    for name in query:
        if name not in PARAMETERS:
            raise Malformed(f"query parameter {name[:40]!r}: expected {', '.join(PARAMETERS)}")
    client_id = query.get("client", "")
    if not CLIENT_ID.fullmatch(client_id):
        raise Malformed(f"query parameter 'client': found {client_id[:80]!r}; expected the id of a client")
    if cursor := query.get("cursor"):
        search = read_search(cursor)
        if search.audit.client != client_id:
            raise Malformed("query parameter 'cursor': expected that of the answer before, with the same `client`")
        return Asked(client_id, search)
    event, source = query.get("event", ""), query.get("source", "")
    if not 0 < len(event) <= ID_LIMIT:
        raise Malformed(f"query parameter 'event': found {event[:80]!r}; expected the id of an event")
    if len(source) > _SOURCE_LIMIT:
        raise Malformed(f"query parameter 'source': found {source[:80]!r}; expected the name of a source")
    since, until = _time(query, "since", SINCE, now), _time(query, "until", "0s", now)
    if since > until:
        raise Malformed("query parameter 'since': found a later time than `until`; expected an earlier one")
    asked = Search(event, source, since, until, _limit(query) * _MIB, audit=Audit(client_id))
    return Asked(client_id, asked)


def _time(query: MultiMapping[str], name: str, usual: str, now: float) -> int:
    text = query.get(name) or usual
    try:
        return min(int(read_since(text, now) * 1000), _LATEST)
    except Refused as exc:
        raise Malformed(f"query parameter {name!r}: {exc.detail.partition(': ')[2]}") from exc


def _limit(query: MultiMapping[str]) -> int:
    text = query.get("limit") or str(LIMIT_MIB)
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_MIB)) and 0 < int(text) <= MOST_MIB):
        raise Malformed(f"query parameter 'limit': found {text[:40]!r}; expected 1 to {MOST_MIB} MiB")
    return int(text)
