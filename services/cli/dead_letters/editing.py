"""Edits the event of one letter in an editor."""

import tempfile
from pathlib import Path

import click
import msgspec

from shared.errors import TrelayError


def to_edit(letter: bytes) -> str:
    """Return the event of a letter, as `GET /dead-letters/{id}` shows it, as text for an editor.

    Where the letter holds input that is no event, it is the event to complete, with that input as its data.
    """
    members = msgspec.json.decode(letter, type=dict[str, msgspec.Raw])
    if "template" in members:
        event = msgspec.json.decode(members["template"], type=dict[str, msgspec.Raw])
        content = next((members[name] for name in ("json", "text", "base64") if name in members), msgspec.Raw(b"null"))
        return _formatted(msgspec.json.encode({**event, "data": content}))
    if "json" in members:
        # Formatted as text, so that numbers keep their digits.
        return _formatted(bytes(members["json"]))
    return str(msgspec.json.decode(members.get("text") or b'""', type=str))


def edited(text: str) -> bytes:
    """Let the user edit an event; return it.

    Raises:
        TrelayError: nothing was changed, or it is no JSON any more; then the text is kept in a file.
    """
    found = click.edit(text, extension=".json", require_save=True)
    if found is None or found == text:
        raise TrelayError("the event was not changed; nothing is replayed")
    return checked(found.encode(), f"kept in {kept(found)}; correct it, and use --event with that file")


def checked(event: bytes, hint: str) -> bytes:
    """Return what a user wrote, if it is JSON.

    Raises:
        TrelayError: it is none; `hint` says what can be done.
    """
    try:
        msgspec.json.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise TrelayError(f"the event is not JSON: {exc}; {hint}") from exc
    return event


def kept(text: str) -> Path:
    """Write what a user edited to a file, which stays."""
    with tempfile.NamedTemporaryFile("w", prefix="trelay-", suffix=".json", delete=False) as file:
        file.write(text)
    return Path(file.name)


def _formatted(written: bytes) -> str:
    return msgspec.json.format(written, indent=2).decode() + "\n"
