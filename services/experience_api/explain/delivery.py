"""Judges the last hop: whether an event was written to a connection of the client. Sans-I/O."""

from collections.abc import Sequence
from typing import Any

from services.experience_api.explain.by_audit import by_audit
from services.experience_api.explain.evidence import Evidence
from services.experience_api.explain.search import Found
from services.experience_api.explain.verdict import DELIVERY, MORE, Answer, Hop, time_text
from services.experience_api.hub.audience import interest_in
from services.experience_api.registry.clients import Connected, Consumer
from services.experience_api.registry.notices import ConnectionDetails
from services.experience_api.wire.cursor import CursorRefused
from services.experience_api.wire.snapshot_cursor import vector_of


def delivered(known: Evidence, published: Sequence[Found], permitted: Sequence[Found]) -> Hop:
    """Judge the delivery of an event, whose published records are `published`, and `permitted` to the client now."""
    skipped = Hop(DELIVERY, Answer.SKIPPED, "not looked at: the event has not come so far")
    if not published:
        return skipped
    if not permitted:  # now: it may have been when the event was written to a connection
        before = by_audit(known, published, skipped)
        return before if before.answer is Answer.YES else skipped
    if known.consumer is None:
        todo = "let the client register with `POST /consumers`, and connect"
        text = "the client has not registered, or its registration was revoked, so it has no connection"
        return by_audit(known, permitted, Hop(DELIVERY, Answer.NO, text, todo))
    hop = _now(known, known.consumer, permitted)
    return hop if hop.answer is Answer.YES else by_audit(known, permitted, hop)


def _now(known: Evidence, consumer: Consumer, permitted: Sequence[Found]) -> Hop:
    """Judge by the connections that there are now."""
    if not consumer.connections:
        return _apart(known, consumer, permitted[0])
    found = [_connected(known, each, permitted) for each in consumer.connections]
    best = {Answer.YES: 0, Answer.UNKNOWN: 1, Answer.NO: 2}
    return min(found, key=lambda hop: best[hop.answer])


def _apart(known: Evidence, consumer: Consumer, event: Found) -> Hop:
    """Judge for a client that is not connected now."""
    seen = int(consumer.last_seen_at.timestamp() * 1000)
    evidence = {"last_seen_at": time_text(seen), "kept_until": time_text(event.at + known.retention_ms)}
    todo = (
        "when it connects with its last cursor, it gets the event, if that cursor is before it and the event is kept "
        f"(until {time_text(event.at + known.retention_ms)}); without a cursor, `since` reaches back"
    )
    if seen < event.at:
        text = f"the client is not connected, and was not when the event was published: last seen {time_text(seen)}"
        return Hop(DELIVERY, Answer.NO, text, todo, evidence=evidence)
    text = f"the client was connected until {time_text(seen)}, after the event was published"
    return Hop(DELIVERY, Answer.UNKNOWN, text, f"compare with the last cursor of the client; {todo}", evidence=evidence)


def _connected(known: Evidence, connection: Connected, permitted: Sequence[Found]) -> Hop:
    evidence: dict[str, Any] = {
        "connection_id": str(connection.connection_id),
        "node": connection.node,
        "from": connection.remote,
        "since": connection.since.isoformat(),
    }
    details = known.details.get(connection.connection_id)
    if details is None:
        text = f"the client is connected to {connection.node}, which did not tell what it has delivered"
        return Hop(
            DELIVERY, Answer.UNKNOWN, text, "ask again; `/readyz` of that replica tells its state", evidence=evidence
        )
    evidence |= {"channels": list(details.channels), "filters": details.filters, "cursor": details.cursor}
    evidence |= {"lag": details.lag, "live": details.live, "buffered_bytes": details.buffered}
    since, before = _divided(known, details, permitted)
    hop = _judged(known, connection, details, since, evidence)
    if not before or hop.answer is Answer.YES:
        return hop
    text = "what the connection receives has changed since it passed the event: what that was then is not known here"
    return Hop(DELIVERY, Answer.UNKNOWN, text, "compare with what the client has received", evidence=evidence)


def _divided(
    known: Evidence, details: ConnectionDetails, permitted: Sequence[Found]
) -> tuple[Sequence[Found], Sequence[Found]]:
    """Return the records that came while the connection received what it does now, and those before."""
    try:
        changed = vector_of(known.codec, details.changed) if details.changed else None
    except CursorRefused:
        return permitted, ()  # of the topic before it was recreated
    if changed is None:
        return permitted, ()
    since = [each for each in permitted if each.offset >= changed[each.partition]]
    return since, [each for each in permitted if each not in since]


def _judged(
    known: Evidence,
    connection: Connected,
    details: ConnectionDetails,
    permitted: Sequence[Found],
    evidence: dict[str, Any],
) -> Hop:
    """Judge by what the connection receives."""
    interest = interest_in(details.channels)
    if not any(interest.matches(each.key.encode()) for each in permitted):
        if known.search.more:
            return Hop(DELIVERY, Answer.UNKNOWN, MORE, evidence=evidence)
        text = f"the connection does not subscribe to {', '.join(sorted({each.key for each in permitted}))}"
        todo = "connect with other `channels`, or change them with `POST /subscriptions`"
        return Hop(DELIVERY, Answer.NO, text, todo, evidence=evidence)
    wanted = [(each, known.wanted(each, details.channels, details.filters)) for each in permitted]
    passing = [each for each, wants in wanted if wants]
    if not passing and any(wants is None for _, wants in wanted):
        text = "the filters of the connection decide, and the event cannot be read any more"
        return Hop(DELIVERY, Answer.UNKNOWN, text, "compare with what the client has received", evidence=evidence)
    if not passing:
        text = "the filters of the connection leave it out"
        return Hop(DELIVERY, Answer.NO, text, "change `filters` of the connection", evidence=evidence)
    return _written(known, connection, details, passing[0], evidence)


def _written(
    known: Evidence, connection: Connected, details: ConnectionDetails, event: Found, evidence: dict[str, Any]
) -> Hop:
    """Judge by how far the connection has been served."""
    try:
        reached = vector_of(known.codec, details.cursor)[event.partition]
    except CursorRefused as exc:
        text = f"the place of the connection cannot be compared: {exc}"
        return Hop(DELIVERY, Answer.UNKNOWN, text, "ask again", evidence=evidence)
    evidence |= {"offset": event.offset, "reached": reached}
    if reached <= event.offset:
        text = f"the connection has not been served up to it yet: {details.lag} records are left"
        todo = f"{details.buffered} bytes wait for the client: it reads slowly, or has just begun to catch up"
        return Hop(DELIVERY, Answer.NO, text, todo, evidence=evidence)
    if connection.since.timestamp() * 1000 > event.at:
        text = (
            "the connection began after the event was published, and has passed it: it got the event if it resumed "
            "from before it"
        )
        todo = "without a cursor from before, connect with `since`, or with the last cursor that the client has"
        return Hop(DELIVERY, Answer.UNKNOWN, text, todo, evidence=evidence)
    if details.conflate:
        text = "the event, or a later one of its subject, was written to the connection, which conflates"
        return Hop(DELIVERY, Answer.YES, text, at=event.at, evidence=evidence)
    waits = f"; {details.buffered} bytes wait in the replica" if details.buffered else ""
    text = f"it was written to the connection of the client{waits}"
    todo = (
        "if the client does not show it, look in the client: it reads slowly, or drops it" if details.buffered else ""
    )
    return Hop(DELIVERY, Answer.YES, text, todo, event.at, evidence)
