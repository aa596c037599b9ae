"""Makes dead letters of records: what a replay needs is kept, and none is too large for the bus. Sans-I/O."""

import dataclasses

from services.process_api.pipeline.part import PART
from services.process_api.worker.routing import id_of
from shared.bus.protocol import RECORD_LIMIT, Headers, Record, size_of
from shared.events.dead_letter import KEPT_BYTES, Content, Reject, replay_in
from shared.events.headers import packed_provenance

_ID_LIMIT = 1024
"""Characters of an id that becomes the key of a dead letter, and bytes of what a truncated one keeps of the record; a
longer one could make it too large for the bus."""

STAGE = "pipeline"


def reject_of(
    record: Record, error: str, provenance: bytes | None, pipeline: str, attempts: int, rewinds: str = ""
) -> Reject:
    """Return the dead letter of a record; `rewinds` are those of the pipeline, see `Reject`.

    Of one that an operator replayed, the attempts before are added, and it stays one of the pipeline that refused it
    before, unless another pipeline does now.
    """
    origin = f"{record.topic}/{record.partition}/{record.offset}"
    identity = id_of(provenance)
    replay = replay_in(record.headers)
    return Reject(
        identity if identity and len(identity) <= _ID_LIMIT else origin,
        record.value or b"",
        error,
        STAGE,
        origin,
        pipeline if replay is None else pipeline or replay.pipeline,
        attempts if replay is None else attempts + replay.attempts,
        Content.EVENT,
        key=record.key,
        provenance=packed_provenance(record.headers),
        replay_of="" if replay is None else replay.letter,
        part=next((value for name, value in record.headers if name == PART), None),
        edited="" if replay is None else replay.edited,
        rewinds=rewinds,
    )


def fitting(reject: Reject, *, truncated: bool = False) -> Reject:
    """Return a dead letter that fits the bus: of one that is too large, or `truncated`, only the beginning is kept."""
    if not truncated and size_of(reject.record()) <= RECORD_LIMIT:
        return reject
    size = len(reject.value)
    return dataclasses.replace(
        reject,
        value=reject.value[:KEPT_BYTES],
        error=f"{reject.error} (truncated: the first {KEPT_BYTES} of {size} bytes)",
        key=_short(reject.key),
        provenance=_short(reject.provenance),
        truncated=size,
    )


def _short(header: bytes | None) -> bytes | None:
    return header if header is not None and len(header) <= _ID_LIMIT else None


def reject_of_result(identity: str, value: bytes, error: str, origin: str, pipeline: str, headers: Headers) -> Reject:
    """Return the dead letter of a result that a step made when it was due, and that a later step rejects."""
    provenance = packed_provenance(headers)
    made = Reject(identity, value, error, STAGE, origin, pipeline, content=Content.RESULT, provenance=provenance)
    return fitting(made)
