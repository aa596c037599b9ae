"""`enrich` from files, and in a database on this machine; the integration tests have servers."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.pipeline import Input
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from shared.errors import Malformed
from tests.unit.services.process_api.making import applied, apply, data_of, draft, event, pipeline, step_options
from tests.unit.services.process_api.pipeline.steps.waiting import scope


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_text("id,name\n1,Ada\n")
    return path


def enrich(path: Path, **more: Any) -> Any:
    return {"enrich": {"file": {"path": str(path)}, "key": "customer", "into": "data.found", **more}}


@pytest.mark.parametrize(
    ("more", "data", "expected"),
    [
        ({}, {"customer": 1}, {"customer": 1, "found": {"id": "1", "name": "Ada"}}),
        ({"merge": "name & ' of ' & $event.id"}, {"customer": "1"}, {"customer": "1", "found": "Ada of orders:7"}),
        ({"into": "data.customer", "merge": "name"}, {"customer": 1}, {"customer": "Ada"}),
        ({}, {"customer": 2}, {"customer": 2}),
        ({}, {}, {}),
        ({"missing": "null"}, {"customer": 2}, {"customer": 2, "found": None}),
        ({"merge": "nothing", "missing": "null"}, {"customer": 1}, {"customer": 1, "found": None}),
    ],
)
def test_what_is_found_is_merged(customers: Path, more: Any, data: Any, expected: Any) -> None:
    assert applied(enrich(customers, **more), event(data))["data"] == expected


def test_what_is_not_found_may_be_an_error(customers: Path) -> None:
    step = enrich(customers, missing="dead_letter")
    with pytest.raises(Malformed, match="nothing is found for the key '2'"):
        apply(step, draft({"customer": 2}))
    with pytest.raises(Malformed, match="nothing is found for no key"):
        apply(step, draft({}))
    with pytest.raises(Malformed, match="expected text, a number or a boolean"):
        apply(step, draft({"customer": {}}))


def test_its_settings_are_checked(customers: Path) -> None:
    with pytest.raises(ValidationError, match="does not compile"):
        step_options(enrich(customers, merge="a +"))
    with pytest.raises(ValidationError, match="cannot be read"):
        step_options(enrich(Path("/none")))
    assert step_options(enrich(customers, merge="b")).expressions() == ["customer", "b"]


class TestSqlite:
    async def run(self, path: Path, *entities: Any, **sql: Any) -> list[Any]:
        query = "SELECT id, name FROM customers WHERE id IN :keys ORDER BY name"
        settings = {"sql": {"url": f"sqlite:///{path}", "query": query, **sql}, "key": "customer", "into": "data.found"}
        made = pipeline({"enrich": settings})
        found: list[Any] = []
        for outcome in await made.start([Input(event(entity)) for entity in entities], scope()):
            result = await made.finish(outcome, (), scope())
            if isinstance(result, Rejected | Blocked):
                found.append(result)
            else:
                found += [[data_of(output.value or b"") for output in result]]
        await made.close()
        return found

    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        path = tmp_path / "customers.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE customers (id INTEGER, name TEXT)")
            connection.executemany("INSERT INTO customers VALUES (?, ?)", [(1, "Ada"), (2, "Bob"), (2, "Bill")])
        connection.close()
        return path

    async def test_one_query_serves_a_batch(self, database: Path) -> None:
        found = await self.run(database, {"customer": 1}, {"customer": 3}, {"customer": 2}, {"customer": []}, {})
        assert found[0] == [{"customer": 1, "found": {"id": 1, "name": "Ada"}}]
        assert found[1] == [{"customer": 3}]
        assert found[2][0]["found"]["name"] == "Bill"
        assert "expected text, a number or a boolean" in str(found[3])
        assert found[4] == [{}]

    async def test_all_rows_of_a_key_are_an_array(self, database: Path) -> None:
        (found,) = await self.run(database, {"customer": 2}, rows="all", key_column="id")
        assert [row["name"] for row in found[0]["found"]] == ["Bill", "Bob"]

    @pytest.mark.parametrize(
        ("sql", "reason"),
        [
            ({"query": "SELECT id FROM nowhere WHERE id IN :keys"}, "no such table: nowhere"),
            ({"key_column": "number"}, "the query has no column 'number'"),
            ({"url": "sqlite:////none.db"}, "no such file"),
        ],
    )
    async def test_a_query_that_cannot_work_holds_the_partition(self, database: Path, sql: Any, reason: str) -> None:
        (found,) = await self.run(database, {"customer": 1}, **sql)
        assert isinstance(found, Blocked)
        assert reason in str(found)
        assert (found.pipeline, found.place) == ("orders", "steps.0.enrich")

    async def test_a_row_on_which_the_query_fails_concerns_its_event_alone(self, database: Path) -> None:
        query = "SELECT id, json_extract(iif(id = 2, '{', '{}'), '$') AS n FROM customers WHERE id IN :keys"
        one, two = await self.run(database, {"customer": 1}, {"customer": 2}, query=query)
        assert one == [{"customer": 1, "found": {"id": 1, "n": "{}"}}]
        assert isinstance(two, Rejected)
        assert f"database {database}: malformed JSON; the query refuses the key" in str(two)

    async def test_too_many_rows_and_a_key_that_does_not_fit_concern_their_event_alone(self, database: Path) -> None:
        ones = await self.run(database, {"customer": 1}, {"customer": 2}, {"customer": 10**30}, row_limit=1)
        assert ones[0] == [{"customer": 1, "found": {"id": 1, "name": "Ada"}}]
        assert "more than 1 rows" in str(ones[1])
        assert isinstance(ones[2], Rejected)


def test_its_document_is_the_found_value(customers: Path) -> None:
    made = applied(enrich(customers, merge="{'n': name, 'data': $}"), event({"customer": 1}))
    assert json.dumps(made["data"]["found"]) == '{"n": "Ada", "data": {"id": "1", "name": "Ada"}}'
