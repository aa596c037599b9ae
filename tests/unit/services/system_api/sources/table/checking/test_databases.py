"""What each database has."""

from typing import Any

import pytest

from services.system_api.sources.table.checking.databases import check_database, check_url, is_generic, title

NONE: dict[str, Any] = dict.fromkeys(("notify", "password", "tls", "query", "time_unit")) | {"overlap": 0.0}


@pytest.mark.parametrize(
    ("url", "name", "generic"),
    [
        ("mysql://db/a", "MariaDB", False),
        ("mariadb://db/a", "MariaDB", False),
        ("mssql://db/a", "SQL Server", True),
        ("oracle://db/a", "Oracle", True),
        ("sqlite:///a", "SQLite", False),
    ],
)
def test_a_database_has_a_name(url: str, name: str, generic: bool) -> None:
    assert (title(url), is_generic(url)) == (name, generic)


@pytest.mark.parametrize("url", ["mysql://db/a", "mssql://a@db:1/a", "oracle://db/a"])
def test_a_url_names_a_host_and_a_database(url: str) -> None:
    check_url(url)
    for wrong in (f"{url}?x=1", url.replace("db", "one,two"), url.rpartition("/")[0]):
        with pytest.raises(ValueError, match="expected one host and a"):
            check_url(wrong)


def test_an_unknown_database_is_refused() -> None:
    with pytest.raises(ValueError, match="found an unknown database; expected postgresql"):
        check_url("db2://db/a")


@pytest.mark.parametrize(
    ("url", "mode", "given"),
    [
        ("postgresql://db/a", "replication", {}),
        ("postgresql://db/a", "diff", {"notify": "x", "query": "SELECT 1"}),
        ("mariadb://db/a", "outbox", {"password": "x", "tls": {}}),
        ("sqlite:///a", "diff", {}),
        ("mssql://db/a", "incremental", {"overlap": 1.0, "tls": {}, "password": "x"}),
    ],
)
def test_what_a_database_has_is_accepted(url: str, mode: str, given: dict[str, Any]) -> None:
    check_database(url, mode, NONE | given)


@pytest.mark.parametrize(
    ("url", "mode", "given", "refusal"),
    [
        ("sqlite:///a", "replication", {}, "mode: replication is of PostgreSQL only"),
        ("sqlite:///a", "diff", {"tls": {}}, "tls: SQLite does not have this"),
        ("mysql://db/a", "diff", {"notify": "x"}, "notify: MariaDB does not have this"),
        ("oracle://db/a", "outbox", {"overlap": 1.0}, "mode: found 'outbox', which Oracle does not have"),
        ("oracle://db/a", "incremental", {"overlap": 1.0, "query": "SELECT 1"}, "query: Oracle does not have this"),
        ("mssql://db/a", "incremental", {"overlap": 1.0, "time_unit": "seconds"}, "time_unit: times of SQL Server"),
        ("mssql://db/a", "incremental", {}, "overlap: required"),
    ],
)
def test_what_a_database_does_not_have_is_refused(url: str, mode: str, given: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        check_database(url, mode, NONE | given)
