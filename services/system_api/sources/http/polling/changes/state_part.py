"""The part of the checkpoint that holds how changes are recognised, and how far that is. No I/O."""

from typing import Generic, TypeVar

import msgspec

from services.system_api.sources.source import Checkpoint
from shared.errors import SettingsError

_PART = ""

State = TypeVar("State", bound=msgspec.Struct)


class _Mode(msgspec.Struct):
    mode: str


class StatePart(Generic[State]):
    """The state of one source, as it was saved last."""

    def __init__(self, checkpoint: Checkpoint, mode: str, kind: type[State]) -> None:
        """Read it.

        Raises:
            SettingsError: it is of another mode, or of another kind of source.
        """
        value = checkpoint.get(_PART)
        self.loaded: State | None = None
        """None: nothing was saved yet."""
        self._saved = value
        if value is None:
            return
        try:
            found = msgspec.json.decode(value, type=_Mode).mode
            if found != mode:
                raise SettingsError(
                    f"the checkpoint is of changes.kind: {found}; found {mode} in the settings. Set {found} again, or"
                    " give the source a new name: it is then a new source, and starts from the beginning"
                )
            self.loaded = msgspec.json.decode(value, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise SettingsError(f"the checkpoint is not of a source of the kind http: {exc}") from exc

    def part(self, state: State) -> dict[str, bytes]:
        """Return the part."""
        return {_PART: msgspec.json.encode(state)}

    def changed(self, state: State) -> dict[str, bytes | None]:
        """Return the part if it differs from what was saved last."""
        value = msgspec.json.encode(state)
        if value == self._saved:
            return {}
        self._saved = value
        return {_PART: value}
