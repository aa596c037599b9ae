from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.database.options import DatabaseOptions
from shared.errors import SettingsError
from shared.settings import Options, load


class Whole(Options):
    database: DatabaseOptions


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann@db/trelay",
        "postgresql://ann@[::1]:5432/trelay",
        "postgresql://ann@one:1,two:2,three/trelay?target_session_attrs=primary",
        "postgresql://db/trelay?user=ann@example.com",
        "postgresql://db",
    ],
)
def test_a_url_stays_as_it_is(url: str) -> None:
    assert DatabaseOptions(url=url).url == url


def test_a_password_in_the_url_is_moved_to_the_secret() -> None:
    options = DatabaseOptions(url="postgresql://ann:pass%20word-1@db.example:5433/trelay?target_session_attrs=primary")
    assert options.url == "postgresql://ann@db.example:5433/trelay?target_session_attrs=primary"
    assert options.password is not None
    assert options.password.get_secret_value() == "pass word-1"
    assert "word-1" not in repr(options) + str(options) + options.model_dump_json()


def test_the_address_does_not_show_the_user() -> None:
    assert DatabaseOptions(url="postgresql://ann@one:1,two:2/trelay?x=y").address == "database one:1,two:2/trelay"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://ann@one:1,two:2,four/trelay", ["one", "two", "four"]),
        ("postgresql://ann@[::1]:3/trelay", ["::1"]),
        ("postgresql://ann@/trelay?host=/run/pg,db", ["/run/pg", "db"]),
        ("postgresql://ann@db/trelay?host=/run/pg", ["db"]),
        ("postgresql://ann@%2Frun%2Fpg:5433/trelay", ["/run/pg"]),
        ("postgresql://ann@/trelay", ["/var/run/postgresql"]),
    ],
)
def test_the_hosts_are_those_that_are_tried(url: str, hosts: list[str]) -> None:
    assert DatabaseOptions(url=url).hosts == hosts


def test_an_ipv6_address_beside_other_hosts_is_read_by_each_release_of_python() -> None:
    options = DatabaseOptions(url="postgresql://ann:pass-1@one:1,[::1]:3,[fe80::1]/trelay?target_session_attrs=primary")
    assert options.url == "postgresql://ann@one:1,[::1]:3,[fe80::1]/trelay?target_session_attrs=primary"
    assert options.hosts == ["one", "::1", "fe80::1"]
    assert options.address == "database one:1,[::1]:3,[fe80::1]/trelay"
    assert options.endpoint == {
        "dsn": "postgresql://ann@/trelay?target_session_attrs=primary",
        "host": ["one", "::1", "fe80::1"],
        "port": [1, 3, 5432],
    }


@pytest.mark.parametrize("url", ["postgresql://ann@one,two/trelay", "postgresql://[::1]:5/trelay", "postgresql://db"])
def test_other_hosts_are_read_by_asyncpg(url: str) -> None:
    assert DatabaseOptions(url=url).endpoint == {"dsn": url}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"url": "mysql://ann:secret@db/trelay"}, "expected postgresql://"),
        ({"url": "ann:secret@db/trelay"}, "expected postgresql://"),
        ({"url": "postgresql://ann:sec/ret@db/trelay"}, "write %40 for @, %2F for /"),
        ({"url": "postgresql://ann:5432/ret@db/trelay"}, "write %40 for @, %2F for /"),
        ({"url": "postgresql://ann:sec?ret@db/trelay"}, "write %40 for @, %2F for /"),
        ({"url": "postgresql://ann:5432?ret@db/trelay"}, "write %40 for @, %2F for /"),
        ({"url": "postgresql://ann:sec#ret@db/trelay"}, "write %40 for @, %2F for /"),
        ({"url": "postgresql://db:port/trelay"}, "expected postgresql://"),
        ({"url": "postgresql://ann@db:abc/trelay"}, "port 'abc' of 'db': expected a number from 1 to 65535"),
        ({"url": "postgresql://ann:secret@one,db:70000/trelay"}, "port '70000' of 'db': expected a number from 1"),
        ({"url": "postgresql://ann@db:0/trelay"}, "port '0' of 'db': expected"),
        ({"url": "postgresql://ann@[::1]:x/trelay"}, r"port 'x' of '\[::1\]': expected"),
        ({"url": "postgresql://ann@db:/trelay"}, "port '' of 'db': expected"),
        ({"url": "postgresql://ann:secret/trelay"}, "the port a number from 1 to 65535"),
        ({"url": "postgresql://ann:secret?x=y@db/trelay"}, "the port a number from 1 to 65535"),
        ({"url": "postgresql://x@ann:secret?x=y@db/trelay"}, "the port a number from 1 to 65535"),
        ({"url": "postgresql://db/trelay?password=secret"}, "found password in the query; use `password`"),
        ({"url": "postgresql://db/trelay?sslmode=require"}, "use `tls`"),
        ({"url": "postgresql://ann:secret@db/trelay", "password": "secret"}, "in `url` and in `password`"),
        ({"url": "postgresql://ann:secret@db/trelay", "pool": 3}, "Extra inputs"),
    ],
)
def test_an_error_is_described_and_shows_no_secret(given: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text) as caught:
        DatabaseOptions.model_validate(given)
    assert "secret" not in str(caught.value)


def test_the_defaults_are_valid() -> None:
    assert DatabaseOptions().tls is None


def test_no_error_in_the_file_shows_the_password(tmp_path: Path) -> None:
    file = tmp_path / "trelay.yaml"
    file.write_text("database:\n  url: mysql://ann:tell-nobody@db/trelay\n  nonsense: 1\n")
    with pytest.raises(SettingsError, match=r"database\.url.*expected postgresql://") as caught:
        load(file, Whole)
    assert "tell-nobody" not in str(caught.value)
