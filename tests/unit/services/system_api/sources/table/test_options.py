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


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///shop.db", "/etc/trelay/shop.db"), ("sqlite:////var/shop.db", "/var/shop.db")],
)
def test_sqlite_paths_are_relative_to_the_settings_file(url: str, path: str) -> None:
    assert options(url).path == Path(path)


@pytest.mark.parametrize(
    ("url", "more", "error"),
    [
        ("mysql://db/shop", {}, "expected postgresql://user@host/database or sqlite:///file"),
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
