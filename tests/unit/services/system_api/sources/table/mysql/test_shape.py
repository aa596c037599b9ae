"""What must not change under a checkpoint."""

from dataclasses import replace

from services.system_api.sources.table.mysql.shape import checked_json
from tests.unit.services.system_api.sources.table.mysql.test_statements import KEYED, TIMED


def test_the_mode_names_the_order_column_and_its_type() -> None:
    assert KEYED.mode == "by id (bigint)"
    assert TIMED.mode == "by at, a, b (datetime)"
    assert replace(TIMED, keys=KEYED.keys).mode == "by at (datetime)"
    assert replace(TIMED, way="diff").mode == "diff by a, b"


def test_json_columns_are_found_in_a_definition() -> None:
    definition = r"""CREATE TABLE `t` (
      `id` bigint(20) NOT NULL,
      `a` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`a`)),
      `b``c` longtext DEFAULT '{"it''s": "CHECK (json_valid(`no`))"}' CHECK (json_valid(`b``c`)),
      `it's` text DEFAULT 'a\'b' COMMENT 'CHECK (json_valid(`d`))',
      `CHECK (json_valid(e))` text CHECK (json_valid(`e`) and `e` <> ''),
      CONSTRAINT `f` CHECK (json_valid(`f`))
    ) ENGINE=InnoDB COMMENT='CHECK (json_valid(`g`))'"""
    assert checked_json(definition) == {"a", "b`c", "f"}
