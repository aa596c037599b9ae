"""The settings of a table source: what they accept, refuse and hide."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from shared.errors import SettingsError


def options(url: str, **more: Any) -> TableSourceOptions:
    given = {"kind": "table", "type": "t", "table": "orders", "url": url}
    return TableSourceOptions.model_validate(given | more, context={"folder": Path("/etc/trelay")})


def test_the_password_is_moved_out_of_the_url() -> None:
    found = options("postgresql://me:s%40cret@db/shop")
    assert found.url == "postgresql://me@db/shop"
    assert found.password is not None
    assert found.password.get_secret_value() == "s@cret"
    assert "s@cret" not in repr(found)


def test_the_password_is_moved_out_of_the_url_of_mariadb() -> None:
    found = options("mariadb://me:s%40cret@db:3307/shop")
    assert (found.url, found.hosts) == ("mariadb://me@db:3307/shop", ["db"])
    assert found.password is not None
    assert found.password.get_secret_value() == "s@cret"
    assert options("postgresql://a,b/shop").hosts == ["a", "b"]
    assert options("sqlite:////shop.db").hosts == []


def test_a_key_has_one_column_or_several() -> None:
    assert options("postgresql://db/shop").keys == ("id",)
    found = options("postgresql://db/shop", key=["a", "b"], mode="diff")
    assert (found.keys, found.subject_name) == (("a", "b"), "a, b")


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///shop.db", "/etc/trelay/shop.db"), ("sqlite:////var/shop.db", "/var/shop.db")],
)
def test_sqlite_paths_are_relative_to_the_settings_file(url: str, path: str) -> None:
    assert options(url).path == Path(path)


@pytest.mark.parametrize(
    ("url", "more", "error"),
    [
        ("db2://db/shop", {}, "found an unknown database; expected postgresql://user@host/database, mariadb://user@h"),
        ("mssql://db/shop", {}, "overlap: required, because Trelay does not see the open transactions of SQL Server"),
        ("oracle://db/S", {}, "overlap: required, because Trelay does not see the open transactions of Oracle"),
        ("oracle://db/S", {"mode": "diff"}, "mode: found 'diff', which Oracle does not have; expected 'incremental'"),
        ("mssql://db/s", {"mode": "replication"}, "mode: replication is of PostgreSQL only"),
        ("mssql://db/s", {"overlap": 5, "notify": "x"}, "notify: SQL Server does not have this; remove it"),
        ("mssql://db", {"overlap": 5}, "expected one host and a database: mssql://user@host:port/database"),
        ("oracle://db/S?x=1", {"overlap": 5}, "expected one host and a service: oracle://user@host:port/service"),
        (
            "mssql://db/s",
            {"overlap": 5, "updated_at_column": "at", "time_unit": "seconds"},
            "time_unit: times of SQL Server are no numbers; remove it",
        ),
        ("mysql://db", {}, "expected one host and a database"),
        ("mariadb://one,two/shop", {}, "expected one host and a database"),
        ("mariadb://db/shop?x=1", {}, "expected one host and a database"),
        ("mariadb://db/shop", {"notify": "orders"}, "notify: MariaDB does not have this"),
        ("postgresql://db/shop", {"key": ["a", "b"]}, "key: found several columns"),
        ("postgresql://db/shop", {"key": ["a", "a"], "mode": "diff"}, "key: found a column twice"),
        ("postgresql://db/shop", {"key": []}, "key"),
        ("postgresql://db/shop", {"table": "a.b.c"}, "expected a table, or schema.table"),
        ("postgresql://db/shop", {"mode": "diff", "overlap": 1}, "overlap: this is a setting of `mode: incremental`"),
        ("postgresql://db/shop", {"diff_limit": 1}, "diff_limit: this is a setting of `mode: diff`"),
        ("postgresql://db/shop", {"published_column": "p"}, "published_column: this is a setting of `mode: outbox`"),
        ("sqlite://", {}, "expected postgresql"),
        ("sqlite:///a.db?mode=rw", {}, "expected postgresql"),
        ("postgresql://db/shop?sslmode=require", {}, "found sslmode in the query; use `tls`"),
        ("postgresql://me:a@db/shop", {"password": "b"}, "password: it is set twice"),
        ("sqlite:///a.db", {"notify": "orders"}, "notify: SQLite does not have this"),
        ("sqlite:///a.db", {"password": "p"}, "password: SQLite does not have this"),
        ("postgresql://db/shop", {"notify": "a; DROP"}, "notify"),
        ("postgresql://db/shop", {"time_zone": "x'y"}, "time_zone"),
    ],
)
def test_invalid_settings_are_refused(url: str, more: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        options(url, **more)


def test_errors_begin_with_their_place_once() -> None:
    error = pytest.raises(SettingsError, match=r"^system\.sources\.orders\.key: no$")
    with error, settings_errors("orders"), settings_errors("orders"):
        raise SettingsError("key: no")
