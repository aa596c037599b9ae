"""Checks that a checkpoint is one of this source, in this mode. No I/O."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from shared.errors import SettingsError


class SavedMode(Protocol):
    """What every checkpoint of a table says of itself."""

    @property
    def v(self) -> int:
        """The version of its form."""
        ...

    @property
    def mode(self) -> str:
        """How the rows were read."""
        ...


@contextmanager
def checkpoint_errors(of: str, setting: str) -> Iterator[None]:
    """Translate the errors of decoding a checkpoint that is not that of `of`; `setting` is what has changed.

    Raises:
        SettingsError: the checkpoint is of another kind of source, or of another mode.
    """
    try:
        yield
    except (KeyError, ValueError, msgspec.MsgspecError) as exc:
        raise SettingsError(
            f"the checkpoint is not that of {of} ({exc}):"
            f" give the source another name, or set its previous {setting} again"
        ) from exc


def check_saved_mode(saved: SavedMode, version: int, mode: str) -> None:
    """Check that a checkpoint has the version of this release and the mode of the settings.

    Raises:
        SettingsError: it has not.
    """
    if saved.v != version or saved.mode != mode:
        raise SettingsError(
            f"the checkpoint is of {saved.mode!r} (version {saved.v}), the settings read {mode!r}:"
            " give the source another name to start from the beginning"
        )
