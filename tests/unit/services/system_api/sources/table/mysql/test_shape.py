"""What must not change under a checkpoint."""

from dataclasses import replace

from tests.unit.services.system_api.sources.table.mysql.test_statements import KEYED, TIMED


def test_the_mode_names_the_order_column_and_its_type() -> None:
    assert KEYED.mode == "by id (bigint)"
    assert TIMED.mode == "by at, a, b (datetime)"
    assert replace(TIMED, keys=KEYED.keys).mode == "by at (datetime)"
    assert replace(TIMED, way="diff").mode == "diff by a, b"
