"""Judges the delivery of an event by the audit, where the connections of now do not tell. Sans-I/O."""

from collections.abc import Sequence
from typing import Any

from services.experience_api.explain.audited import Audited
from services.experience_api.explain.evidence import Evidence
from services.experience_api.explain.search import Found, Stage
from services.experience_api.explain.verdict import DELIVERY, Answer, Hop

_RESUME = "it comes again if the client connects with its last cursor, and that is before the event"


def by_audit(known: Evidence, permitted: Sequence[Found], hop: Hop) -> Hop:
    """Return what the audit says; `hop`, with the reason, if it says nothing."""
    audit = known.search.audit
    judged = [(each, _wanted(known, permitted, each)) for each in audit.written]
    written = [each for each, wants in judged if wants]
    evidence: dict[str, Any] = {**hop.evidence, "audit_records": audit.records}
    if written:
        best = min(written, key=_certainty)
        return _written(best, evidence | {"audit": _view(best)})
    if hop.answer is not Answer.UNKNOWN:
        return hop
    undecided = next((each for each, wants in judged if wants is None), None)
    if undecided is not None:
        text = (
            f"connection {undecided.connection} was served beyond the event: its filters decide, and the event cannot"
        )
        return Hop(DELIVERY, Answer.UNKNOWN, f"{text} be read any more", hop.todo, evidence=evidence)
    return _without_record(known, hop, evidence)


def _without_record(known: Evidence, hop: Hop, evidence: dict[str, Any]) -> Hop:
    """Judge an event that no range of the audit spans."""
    audit = known.search.audit
    if Stage.AUDIT in known.search.cut:
        text = f"{hop.text}; the limit of bytes was reached before the audit was read to its end"
        return Hop(DELIVERY, hop.answer, text, "ask again with a larger `limit`", evidence=evidence)
    if not audit.records:
        text = f"{hop.text}; the audit has no record of the client since the event was published"
        todo = f"{hop.todo}; `experience.audit` lets later questions be answered".removeprefix("; ")
        return Hop(DELIVERY, hop.answer, text, todo, evidence=evidence)
    connected = set() if known.consumer is None else {str(each.connection_id) for each in known.consumer.connections}
    open_ended = [name for name, passed in audit.behind.items() if not passed and name not in connected]
    certain = not (open_ended or audit.snapshots)
    if audit.missed and certain and known.client is not None and known.client.max_connections == 1:
        text = f"the connection {audit.missed[-1]} ended before the event was written to it, and none got it later"
        return Hop(DELIVERY, Answer.NO, text, _RESUME, evidence=evidence | {"ended": audit.missed})
    text = "the audit does not say that it was written to a connection of the client"
    if audit.snapshots:
        text += "; it may have been in a snapshot, which the audit does not list"
    if open_ended:
        text += f"; connection {open_ended[-1]} has no end there, and what it was written last is not known"
    return Hop(DELIVERY, Answer.UNKNOWN, text, hop.todo, evidence=evidence)


def _wanted(known: Evidence, permitted: Sequence[Found], audited: Audited) -> bool | None:
    """Return whether the connection subscribed to the event; None as in `Evidence.wanted`.

    A range also spans what it did not subscribe to.
    """
    for each in permitted:
        if (each.partition, each.offset) == (audited.partition, audited.offset):
            return known.wanted(each, audited.channels, audited.filters)
    return False


def _certainty(audited: Audited) -> int:
    if audited.acknowledged:
        return 0
    return {None: 1, True: 2, False: 3}[audited.sent]


def _written(audited: Audited, evidence: dict[str, Any]) -> Hop:
    name = f"connection {audited.connection} of {audited.node}"
    what = "the event, or a later one of its subject," if audited.conflate else "it"
    ended = f", which ended: {audited.ended}" if audited.ended else ""
    if audited.acknowledged:
        text = f"{what} was received by the client's end of {name} by {audited.at}"
        return Hop(DELIVERY, Answer.YES, text, "if the client does not show it, look in the client", evidence=evidence)
    if audited.sent is None:
        text = f"{what} was written to {name} by {audited.at}; under TLS and over HTTP, the audit knows no more"
        return Hop(DELIVERY, Answer.YES, text, f"if the client does not show it: {_RESUME}", evidence=evidence)
    if audited.sent:
        text = f"{what} was sent on {name}, and the audit does not say that the client received it{ended}"
        return Hop(DELIVERY, Answer.UNKNOWN, text, _RESUME, evidence=evidence)
    text = f"{what} was written to {name}, and was not sent when the audit was written last{ended}"
    return Hop(DELIVERY, Answer.NO if ended else Answer.UNKNOWN, text, _RESUME, evidence=evidence)


def _view(audited: Audited) -> dict[str, Any]:
    return {name: getattr(audited, name) for name in audited.__struct_fields__}
