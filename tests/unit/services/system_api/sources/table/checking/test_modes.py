"""Settings of a table source that concern each other."""

from typing import Any

import pytest

from services.system_api.sources.table.checking.modes import check_mode, check_relation


def relation(table: str = "", query: str = "", overlap: float = 0.0) -> dict[str, Any]:
    return {"table": table, "query": query, "overlap": overlap}


def test_a_setting_belongs_to_its_modes() -> None:
    check_mode("diff", {"deleted_type", "key"})
    check_mode("replication", {"deleted_type"})
    with pytest.raises(ValueError, match="overlap: this is a setting of `mode: incremental`; remove it, or set that"):
        check_mode("diff", {"overlap"})


def test_there_is_a_table_or_a_query() -> None:
    check_relation("outbox", relation(table="t"))
    for both_or_none in (relation(), relation("t", "SELECT 1")):
        with pytest.raises(ValueError, match="expected exactly one of `table` and `query`"):
            check_relation("diff", both_or_none)


def test_a_query_is_compared_or_has_an_overlap() -> None:
    check_relation("diff", relation(query="SELECT 1"))
    check_relation("incremental", relation(query="SELECT 1", overlap=1))
    with pytest.raises(ValueError, match="overlap: required with `query`"):
        check_relation("incremental", relation(query="SELECT 1"))
    with pytest.raises(ValueError, match="query: `mode: outbox` reads a table"):
        check_relation("outbox", relation(query="SELECT 1"))
