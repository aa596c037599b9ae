"""Values of command-line options: channel patterns, and the authorities to trust."""

import ssl
from pathlib import Path

import click

from shared.errors import SettingsError


def patterns_of(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split a comma-separated list of channel patterns; without the option it is empty.

    Raises:
        BadParameter: the option is given without a pattern, for example by an unset variable.
    """
    patterns = tuple(pattern.strip() for pattern in (value or "").split(",") if pattern.strip())
    if value is not None and not patterns:
        raise click.BadParameter("names no channel")
    return patterns


def ca_context(ca_file: Path | None) -> ssl.SSLContext | None:
    """Return what trusts the authorities of a file; None without one, for those of the system."""
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise SettingsError(f"{ca_file} contains no certificates: {exc.strerror or exc}") from exc
