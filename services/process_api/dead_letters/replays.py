"""What the replay of a dead letter writes: the event as it came or as it was edited, with its id. No I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.rewound import Rewound
from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.part import PART, parse_part
from services.process_api.worker.routing import provenance_of
from shared.bus.protocol import Outgoing, check_size
from shared.bus.topics import TopicsOptions
from shared.errors import Malformed
from shared.events.dead_letter import Content, Replay, origin_in
from shared.events.event import (
    Attributes,
    Channel,
    decode,
    encode,
    json_string,
    text_of,
    validate,
)
from shared.events.headers import CONTENT_TYPE, headers_of

_SOURCES = "/sources/"

PipelinesOf = Callable[[str], Mapping[str, int]]
"""Returns the names of the pipelines that take the events of a source, each with the number of its parts."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A new body for one letter: a whole event, or its data alone, which keeps the attributes."""

    event: bytes | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Replays:
    """Makes the records of replays."""

    topics: TopicsOptions
    pipelines_of: PipelinesOf
    rewound: Rewound | None = None
    """The rewinds; without them, every event is replayed that can be."""

    def record(
        self, letter: Letter, channel: Channel | None, edit: Edit | None = None, pipeline: str = ""
    ) -> tuple[str, Outgoing]:
        """Return the topic and the record of a replay: to a channel or, where that is None, to a pipeline.

        That is `pipeline`, or the one that refused the event where it is empty.

        Raises:
            Malformed: the letter cannot be replayed so; the text says why, and what can be done.
        """
        value = letter.value if edit is None else _edited(letter, edit)
        if edit is None:
            _check_is_event(letter)
        if channel is not None:
            return self.topics.publish, self._published(letter, value, channel, edited=edit is not None)
        return self.topics.ingest, self._ingested(letter, value, pipeline or letter.pipeline, edited=edit is not None)

    def _ingested(self, letter: Letter, value: bytes, pipeline: str, *, edited: bool) -> Outgoing:
        if letter.content is Content.RESULT:
            raise Malformed("a step of the pipeline made this event, which cannot go through it again; use a channel")
        wanted, takers = pipeline.partition("@")[0], self.pipelines_of(letter.source)
        if wanted and wanted not in takers:
            more = " any more" if wanted == letter.pipeline_name else ""
            raise Malformed(f"the pipeline {wanted!r} does not take the source {letter.source!r}{more}")
        if not edited and wanted == letter.pipeline_name and self._runs_again(letter):
            raise Malformed(
                f"a rewind runs its event through the pipeline {wanted!r} again: it would run twice; drop the letter"
            )
        if not takers:
            raise Malformed(f"no pipeline takes the source {letter.source!r}; add one, or replay to a channel")
        if letter.part is not None:
            _check_part(letter.part, wanted, takers)
        # An edited event is not one that the system layer spliced: without its provenance, it is parsed as a whole.
        keeps_provenance = not edited and letter.provenance is not None
        headers = headers_of(letter.provenance or b"") if keeps_provenance else (CONTENT_TYPE,)
        place = str(letter.place)
        again = not edited and letter.origin.startswith(f"{self.topics.ingest}/")
        origin = origin_in(letter.origin) if again else None
        replay = Replay(place, letter.attempts, pipeline, place if edited else letter.edited, origin).headers()
        # A later part of the pipeline refused it: the parts before do not run again.
        part = () if letter.part is None else (_in_part(letter.part, wanted),)
        record = Outgoing(_key(letter, value), value, (*headers, *replay, *part))
        check_size(self.topics.ingest, record)
        return record

    def _runs_again(self, letter: Letter) -> bool:
        return self.rewound is not None and self.rewound.runs_again(letter)

    def _published(self, letter: Letter, value: bytes, channel: Channel, *, edited: bool) -> Outgoing:
        spliced = not edited and letter.provenance is not None and letter.content is Content.EVENT
        draft = Draft(value, spliced=spliced)
        draft.check()
        written = draft.encoded(json_string(channel))
        limit = self.topics.event_limit
        if len(written) > limit:
            raise Malformed(f"the event would have {len(written)} bytes, the limit is {limit}")
        packed = letter.provenance or provenance_of(value, letter.timestamp)
        return Outgoing(channel.encode(), written, headers_of(packed))


def problem(letter: Letter) -> str | None:
    """Return why a letter cannot be replayed as it is; None if it can."""
    try:
        _check_is_event(letter)
    except Malformed as exc:
        return str(exc)
    return None


def template(letter: Letter) -> Attributes:
    """Return the event to begin with where a letter that holds none is edited; its type is still to be named."""
    given = {"specversion": "1.0", "id": letter.id, "source": f"{_SOURCES}{letter.source}", "type": ""}
    return {name: msgspec.Raw(json_string(text)) for name, text in given.items()}


def _in_part(header: bytes, pipeline: str) -> tuple[str, bytes]:
    """Return the header of a part, of a pipeline that may have another name than the one that refused the event."""
    part = parse_part(header)
    return part._replace(pipeline=pipeline).header() if pipeline and part.pipeline else (PART, header)


def _check_part(header: bytes, wanted: str, takers: Mapping[str, int]) -> None:
    """Check that a pipeline has the part in which an event goes on: otherwise its replay would be a letter again."""
    part = parse_part(header)
    name = wanted or part.pipeline
    if part.number >= takers.get(name, part.number + 1):
        raise Malformed(
            f"the pipeline {name!r} has no part {part.number + 1} any more, in which the event goes on; use a channel,"
            " or add its step repartition again"
        )


def _check_is_event(letter: Letter) -> None:
    if letter.truncated:
        raise Malformed("only the beginning of the input is kept; replay it with an edited event")
    if letter.content is Content.INPUT:
        raise Malformed("it is input of which no event could be made; replay it with an edited event")


def _edited(letter: Letter, edit: Edit) -> bytes:
    """Return the edited event, complete and valid. It keeps id and source: it stays the event that was rejected.

    Raises:
        Malformed: it is no event, or has another id or source.
    """
    before = _attributes(letter)
    if edit.data is not None:
        if before is None:
            raise Malformed("the letter holds no event whose data could be replaced; give a whole `event`")
        kept = {name: raw for name, raw in before.items() if name not in {"data", "data_base64"}}
        if "data_base64" in before:
            kept["datacontenttype"] = msgspec.Raw(b'"application/json"')
        value = encode({**kept, "data": msgspec.Raw(edit.data)})
    else:
        value = edit.event or b""
    after = decode(value)
    validate(after)
    expected = before or template(letter)
    for name in ("id", "source"):
        wanted, found = text_of(expected, name), text_of(after, name)
        if wanted not in {found, _SOURCES}:  # the source of what is no event at all may be unknown
            raise Malformed(f"attribute {name!r}: found {found!r}; expected {wanted!r}, for it stays the same event")
    return value


def _attributes(letter: Letter) -> Attributes | None:
    """Return the attributes of the event that a letter holds; None where it holds none."""
    if problem(letter) is not None:
        return None
    try:
        return decode(letter.value)
    except Malformed:
        return None


def _key(letter: Letter, value: bytes) -> bytes:
    """Return the key for the ingest topic: that of the rejected record, or the subject where that was the key."""
    before = _attributes(letter)
    subject = None if before is None else text_of(before, "subject")
    if letter.key is not None and letter.key != (subject or "").encode():
        return letter.key
    try:
        return (text_of(decode(value), "subject") or "").encode()
    except Malformed:
        return letter.key or b""
