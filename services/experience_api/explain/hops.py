"""Judges each hop of an event, from its source to the socket of a client. Sans-I/O.

Each hop answers yes, no or unknown, with what that is known by.
"""

from services.experience_api.explain.delivery import delivered
from services.experience_api.explain.evidence import Evidence
from services.experience_api.explain.search import Found, Stage
from services.experience_api.explain.verdict import MORE, Answer, Hop, place
from services.experience_api.hub.audience import interest_in

INGEST, PROCESS, PUBLISH, GRANT = "ingest", "process", "publish", "grant"
_PUSHED = "entity"
_OFF = "not looked at: the event has not come so far"


def hops(known: Evidence) -> list[Hop]:
    """Return the hops of an event, in its order."""
    published = known.search.of(Stage.PUBLISH)
    permitted = _permitted(known, published)
    return [
        _ingested(known),
        _processed(known),
        _published(known),
        _granted(known, published, permitted),
        delivered(known, published, permitted),
    ]


def _ingested(known: Evidence) -> Hop:
    search = known.search
    if found := search.of(Stage.INGEST):
        [first] = found
        text = f"source {first.source or '?'} wrote it to the ingest topic"
        evidence = {**place(first), "source": first.source, "read_ms": first.read_ms}
        return Hop(INGEST, Answer.YES, text, at=first.at, evidence=evidence)
    if published := search.of(Stage.PUBLISH):
        pushed = published[0].source == _PUSHED
        text = "it was pushed with POST /entity" if pushed else f"source {published[0].source or '?'} has a channel"
        return Hop(INGEST, Answer.SKIPPED, f"{text}: such events go to the publish topic directly")
    if letters := [each for each in search.of(Stage.DEAD_LETTER) if not each.pipeline]:
        return _refused(INGEST, letters[0])
    if Stage.INGEST in search.cut or Stage.PUBLISH in search.cut:
        return Hop(INGEST, Answer.UNKNOWN, "the limit of bytes was reached before it was found", _CUT)
    if search.since < known.now - known.retention_ms:
        text = "no topic has the event any more: what was written before the last "
        text += f"{known.retention_ms / 3_600_000:g} hours is not kept"
        return Hop(INGEST, Answer.UNKNOWN, text, "look in the system that the source reads, and in the client")
    text = "no topic has the event in the range of times that was read"
    todo = (
        "check the id, and read an earlier range (`since`); otherwise the source has not read it: `trelay sources show "
        "NAME` tells its state and its position"
    )
    return Hop(INGEST, Answer.NO, text, todo)


_CUT = "read less at a time: a later `since` or an earlier `until`, or a larger `limit`"


def _refused(name: str, letter: Found) -> Hop:
    by = f"pipeline {letter.pipeline} refused it" if letter.pipeline else "it was refused"
    name_of = f"{letter.partition}-{letter.offset}"
    evidence = {**place(letter), "letter": name_of, "pipeline": letter.pipeline, "error": letter.error}
    todo = f"`trelay dead-letters show {name_of}` shows it; once the cause is removed, `replay` publishes it"
    return Hop(name, Answer.NO, f"{by}, and it is a dead letter: {letter.error}", todo, letter.at, evidence)


def _processed(known: Evidence) -> Hop:
    search = known.search
    ingested, published = search.of(Stage.INGEST), search.of(Stage.PUBLISH)
    letters = search.of(Stage.DEAD_LETTER)
    if not ingested:
        return Hop(PROCESS, Answer.SKIPPED, "it is not on the ingest topic")
    position = {"offset": ingested[0].offset, "committed": known.committed}
    if letters and not published:
        return _refused(PROCESS, letters[0])
    if published:
        also = f"; beside that, pipeline {letters[0].pipeline} refused it: {letters[0].error}" if letters else ""
        return Hop(PROCESS, Answer.YES, f"the process layer has processed it{also}", evidence=position)
    if known.committed is None or known.committed <= ingested[0].offset:
        behind = ingested[0].offset + 1 - (known.committed or 0)
        text = f"the process layer has not processed it yet: {behind} offsets of its partition are left up to it"
        todo = "`trelay pipelines list` tells whether the partition lags, is held by a step, or is paused"
        return Hop(PROCESS, Answer.NO, text, todo, evidence=position)
    if Stage.DEAD_LETTER in search.cut or Stage.PUBLISH in search.cut:
        return Hop(
            PROCESS, Answer.UNKNOWN, "it was processed; the limit of bytes was reached before more was found", _CUT
        )
    text = (
        "the process layer has processed it, and published nothing: a step left it out, keeps it for later, or has put "
        "it back between two parts of a pipeline"
    )
    todo = (
        "look at the steps of the pipelines that take the source: `filter`, `dedupe` and `latest` leave events out, "
        "`aggregate` and `join` keep them, `repartition` puts them back; `trelay eval` tries a pipeline on the event"
    )
    return Hop(PROCESS, Answer.NO, text, todo, evidence=position)


def _published(known: Evidence) -> Hop:
    published = known.search.of(Stage.PUBLISH)
    if not published:
        return Hop(PUBLISH, Answer.SKIPPED, _OFF)
    channels = sorted({each.key for each in published})
    evidence = {"records": [{**place(each), "channel": each.key} for each in published]}
    text = f"it is on the publish topic, on {', '.join(channels)}"
    return Hop(PUBLISH, Answer.YES, text, at=published[0].at, evidence=evidence)


def _permitted(known: Evidence, published: list[Found]) -> list[Found]:
    if known.client is None:
        return []
    grant = interest_in(known.client.channels)
    return [each for each in published if grant.matches(each.key.encode())]


def _granted(known: Evidence, published: list[Found], permitted: list[Found]) -> Hop:
    client = known.client
    if client is None:
        return Hop(GRANT, Answer.NO, f"there is no client {known.client_id!r}", "`trelay clients list` shows them")
    evidence = {"channels": list(client.channels), "disabled": client.disabled}
    if client.disabled:
        text, todo = "the client is disabled", f"`trelay clients enable {client.client_id}`"
        return Hop(GRANT, Answer.NO, text, todo, evidence=evidence)
    if not published:
        return Hop(GRANT, Answer.SKIPPED, _OFF, evidence=evidence)
    if not permitted and known.search.more:
        return Hop(GRANT, Answer.UNKNOWN, MORE, evidence=evidence)
    if not permitted:
        text = f"the client may not subscribe to {', '.join(sorted({each.key for each in published}))}"
        todo = f"`trelay clients set {client.client_id} --channels …` grants channels, which replaces those it has"
        return Hop(GRANT, Answer.NO, text, todo, evidence=evidence)
    text = f"the client may subscribe to {', '.join(sorted({each.key for each in permitted}))}"
    return Hop(GRANT, Answer.YES, text, evidence=evidence)
