"""TLS to a service of Trelay."""

import ssl
from pathlib import Path

from shared.errors import SettingsError


def ca_context(ca_file: Path | None) -> ssl.SSLContext | None:
    """Return what trusts the authorities of a file; None without one, for those of the system."""
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise SettingsError(f"{ca_file} contains no certificates: {exc.strerror or exc}") from exc
