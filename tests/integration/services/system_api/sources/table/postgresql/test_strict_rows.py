"""Rows of PostgreSQL that a strict JSON reader refuses go to the dead letter, and the others are published."""

import json

import asyncpg
import pytest

from tests.integration.services.system_api.sources.table.table_poller import TablePoller

GOOD = """'{"a":1}', '{"a":1}', 1.5, 1"""


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (r"""'{"n":"cut \ud83d"}', NULL, NULL, NULL""", r"key 2: j.n, byte 17: found the lone surrogate \ud83d"),
        ("'[1,1e400]', NULL, NULL, NULL", "key 2: j[1], byte 15: found the number 1e400; expected at most 1.8e308"),
        ("NULL, '[1e400]', NULL, NULL", "key 2: b[0], byte 22: found the number 1000000"),
        ("NULL, NULL, 1e400, NULL", "key 2: n, byte 30: found the number 1000000"),
        ("repeat('[', 600)::text || repeat(']', 600)", "more than 511 nested objects and arrays"),
    ],
)
async def test_a_row_that_readers_refuse_is_rejected(
    database: str, upstream: asyncpg.Connection, row: str, fault: str
) -> None:
    row = f"({row})::json, NULL, NULL, NULL" if "repeat" in row else row
    await upstream.execute(f"""
        CREATE TABLE orders (id bigserial PRIMARY KEY, j json, b jsonb, n numeric, f float8);
        INSERT INTO orders (j, b, n, f) VALUES ({GOOD}), ({row}), ({GOOD});
    """)
    async with TablePoller(database).opened() as source:
        batch = await source.poll(10)
    assert [json.loads(record.value or b"")["data"]["id"] for record in batch.records] == [1, 3]
    (reject,) = batch.rejects
    assert fault in reject.error
    assert reject.value.startswith(b'{"id":2,')


async def test_infinity_and_nan_are_text(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("""
        CREATE TABLE orders (id bigserial PRIMARY KEY, n numeric, f float8);
        INSERT INTO orders (n, f) VALUES ('NaN', 'Infinity'), ('-Infinity', 'NaN');
    """)
    async with TablePoller(database).opened() as source:
        batch = await source.poll(10)
    rows = [json.loads(record.value or b"", parse_constant=pytest.fail)["data"] for record in batch.records]
    assert [(row["n"], row["f"]) for row in rows] == [("NaN", "Infinity"), ("-Infinity", "NaN")]


async def test_an_empty_subject_is_rejected(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("""
        CREATE TABLE orders (id bigserial PRIMARY KEY, who text);
        INSERT INTO orders (who) VALUES ('ann'), (''), ('bob');
    """)
    async with TablePoller(database, subject="who").opened() as source:
        batch = await source.poll(10)
    assert [json.loads(record.value or b"")["subject"] for record in batch.records] == ["ann", "bob"]
    assert [reject.error for reject in batch.rejects] == ["orders, key 2: column 'who' is empty"]
