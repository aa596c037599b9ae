"""Which databases the URL of a table source can name, and which settings each of them has."""

from collections.abc import Mapping
from urllib.parse import urlsplit

POSTGRESQL = ("postgresql://", "postgres://")
MYSQL = ("mysql://", "mariadb://")
MSSQL = "mssql://"
ORACLE = "oracle://"
SQLITE = "sqlite:///"
SERVERS = (*POSTGRESQL, *MYSQL, MSSQL, ORACLE)

_GENERIC = (MSSQL, ORACLE)
"""Databases that the tests do not run, and whose open transactions Trelay does not see."""
_TITLES = {**dict.fromkeys(MYSQL, "MariaDB"), MSSQL: "SQL Server", ORACLE: "Oracle", SQLITE: "SQLite"}
_MISSING = {SQLITE: ("notify", "password", "tls"), **dict.fromkeys((*MYSQL, *_GENERIC), ("notify",))}
_EXAMPLES = {
    **dict.fromkeys(MYSQL, "a database: mariadb://user@host:port/database"),
    MSSQL: "a database: mssql://user@host:port/database",
    ORACLE: "a service: oracle://user@host:port/service",
}


def is_generic(url: str) -> bool:
    """Whether a database is read through SQLAlchemy alone."""
    return url.startswith(_GENERIC)


def title(url: str) -> str:
    """Return the name of a database other than PostgreSQL, for people."""
    return next(title for scheme, title in _TITLES.items() if url.startswith(scheme))


def check_url(url: str) -> None:
    """Check the URL of a server other than PostgreSQL.

    Raises:
        ValueError: it does not name one host and a database.
    """
    example = next((example for scheme, example in _EXAMPLES.items() if url.startswith(scheme)), None)
    if example is None:
        raise ValueError(
            "found an unknown database; expected postgresql://user@host/database, mariadb://user@host/database,"
            " mssql://user@host/database, oracle://user@host/service or sqlite:///file"
        )
    parts = urlsplit(url)
    if "," in parts.netloc or parts.query or not parts.hostname or not parts.path.strip("/"):
        raise ValueError(f"expected one host and {example}")


def check_database(url: str, mode: str, settings: Mapping[str, object]) -> None:
    """Check that a database has the mode and the settings that are given; `settings` are some of them by name.

    Raises:
        ValueError: names the setting.
    """
    if mode == "replication" and not url.startswith(POSTGRESQL):
        raise ValueError("mode: replication is of PostgreSQL only; set `updated_at_column`, or `mode: diff`")
    for scheme, names in _MISSING.items():
        for name in names if url.startswith(scheme) else ():
            if settings[name] is not None:
                raise ValueError(f"{name}: {title(url)} does not have this; remove it")
    if is_generic(url):
        _check_generic(title(url), mode, settings)


def _check_generic(database: str, mode: str, settings: Mapping[str, object]) -> None:
    if mode != "incremental":
        raise ValueError(f"mode: found {mode!r}, which {database} does not have; expected 'incremental'")
    if settings["query"]:
        raise ValueError(f"query: {database} does not have this; set `table`, which may be a view")
    if settings["time_unit"] is not None:
        raise ValueError(f"time_unit: times of {database} are no numbers; remove it")
    if not settings["overlap"]:
        raise ValueError(
            f"overlap: required, because Trelay does not see the open transactions of {database}: set the seconds of"
            " the longest transaction that writes to the table"
        )
