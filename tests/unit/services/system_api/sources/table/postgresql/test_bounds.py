"""The statements that observe a table."""

from dataclasses import replace

from services.system_api.sources.table.postgresql import bounds
from tests.unit.services.system_api.sources.table.postgresql.test_statements import KEYED
from tests.unit.services.system_api.sources.table.postgresql.test_statements_by_time import BY_TIME


def test_literals() -> None:
    assert bounds.literal("it's") == "'it''s'"


def test_the_bound_of_keys_is_the_next_value_of_the_sequence() -> None:
    statement = bounds.state(KEYED, 1)
    assert "s.last_value + s.is_called::int AS bound" in statement
    assert statement.rstrip().endswith("FROM public.s s")
    assert "l.relation = 7 AND" in bounds.running(KEYED)


def test_a_query_has_no_identity_in_the_catalog() -> None:
    assert bounds.identity(replace(BY_TIME, named=False)) == "SELECT 'query'"


def test_without_a_sequence_to_ask_there_is_no_bound() -> None:
    assert KEYED.sequence is not None
    unreadable = replace(KEYED, sequence=replace(KEYED.sequence, readable=False))
    assert "NULL::bigint AS bound" in bounds.state(unreadable, 1)
    assert "l.relation = 7 AND" in bounds.running(unreadable)
    unknown = replace(KEYED, sequence=None)
    assert "NULL::bigint AS bound" in bounds.state(unknown, 1)
    assert "'virtualxid'" in bounds.running(unknown)


def test_the_bound_of_times_is_the_time_of_the_statement_less_the_margin() -> None:
    statement = bounds.state(BY_TIME, 1.5)
    assert (
        "ELSE statement_timestamp()\n    END\n) - interval '1.500000 s' AS bound, statement_timestamp() AS clock"
        in statement
    )
    assert "'virtualxid'" in bounds.running(BY_TIME)


def test_times_without_a_zone_are_observed_in_that_of_the_settings() -> None:
    local = replace(BY_TIME, order_type="timestamp", time_zone="Europe/Berlin")
    statement = bounds.state(local, 1)
    assert "AT TIME ZONE 'Europe/Berlin'" in statement
    assert 'max(t."updated_at")' in statement


def test_the_identity_names_the_columns_that_matter() -> None:
    statement = bounds.identity(replace(BY_TIME, subject="who's"))
    assert "ARRAY['id', 'updated_at', 'who''s']::name[]" in statement
    assert 'to_regclass(\'"shop"."orders"\')' in statement
