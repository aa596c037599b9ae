"""Tables in databases that no test runs are named."""

import pytest

from services.cli.check.untested import warnings
from services.standalone.settings import WholeSettings


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("mssql://a@db/shop", "SQL Server"),
        ("oracle://a@db/SHOP", "Oracle"),
        ("mariadb://a@db/shop", None),
        ("postgresql://a@db/shop", None),
    ],
)
def test_a_table_in_a_database_that_the_tests_do_not_run_is_named(url: str, title: str | None) -> None:
    source = {"kind": "table", "url": url, "table": "t", "type": "t", "overlap": 5, "channel": "c"}
    settings = WholeSettings.model_validate({"system": {"sources": {"orders": source}}})
    found = [str(warning) for warning in warnings(settings.system.sources)]
    if title is None:
        assert found == []
    else:
        (warning,) = found
        assert warning.startswith(f"system.sources.orders.url: no test of Trelay runs on a real {title};")
