"""Imports of packages that an extra of the distribution installs."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import SettingsError

_OURS = {"services", "shared", "trelay_client"}


@contextmanager
def extra(name: str, needed_by: str) -> Iterator[None]:
    """Import inside the context what the extra `name` installs; `needed_by` is the setting that asks for it.

    Raises:
        SettingsError: a package is not installed; the text names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package in _OURS:
            raise
        raise SettingsError(
            f"{needed_by} needs the package {package!r}, which is not installed: pip install 'trelay[{name}]'"
        ) from exc
