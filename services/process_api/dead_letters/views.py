"""Dead letters as JSON, for the endpoints. No I/O."""

import base64
from typing import Any

import msgspec

from services.process_api.dead_letters.decisions import Decision
from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.replays import problem, template
from shared.errors import Malformed
from shared.events import strict_json
from shared.events.dead_letter import Content
from shared.runtime.clock import rfc3339


def summary(letter: Letter, decision: Decision | None) -> dict[str, Any]:
    """Return what a list shows of a letter."""
    shown: dict[str, Any] = {
        "id": str(letter.place),
        "time": rfc3339(letter.timestamp / 1000),
        "status": "open" if decision is None else decision.status,
        "stage": letter.stage,
        "source": letter.source,
        "pipeline": letter.pipeline,
        "error": letter.error,
        "attempts": letter.attempts,
        "event_id": letter.id,
        "origin": letter.origin,
        "content": letter.content,
        "bytes": letter.truncated if letter.truncated > 1 else len(letter.value),
    }
    if letter.replay_of:
        shown["replay_of"] = letter.replay_of
    if decision is not None:
        shown["decision"] = _decision(decision)
    return shown


def whole(letter: Letter, decision: Decision | None) -> dict[str, Any]:
    """Return all that is known of a letter, with its value: as JSON, else as text, else in base64."""
    shown = summary(letter, decision)
    shown["key"] = None if letter.key is None else letter.key.decode(errors="replace")
    if (provenance := letter.unpacked) is not None:
        shown["read"] = rfc3339(provenance.read_ms / 1000)
    shown["truncated"] = bool(letter.truncated)
    shown["replayable"] = (reason := problem(letter)) is None
    if reason is not None:
        shown["not_replayable_because"] = reason
    shown |= _value(letter.value)
    if letter.content is Content.INPUT:
        # To begin an edited event with.
        shown["template"] = template(letter)
    return shown


def _decision(decision: Decision) -> dict[str, Any]:
    shown = {"by": decision.by, "at": rfc3339(decision.at / 1000), "operation": decision.operation}
    more = {"to": decision.to, "edited": decision.edited, "reason": decision.reason}
    return shown | {name: value for name, value in more.items() if value}


def _value(value: bytes) -> dict[str, Any]:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
    try:
        # The text itself, so that numbers keep their digits.
        strict_json.check(value, strict_json.EVENT_LEVELS)
    except Malformed:
        return {"text": text}
    return {"json": msgspec.Raw(value)}
