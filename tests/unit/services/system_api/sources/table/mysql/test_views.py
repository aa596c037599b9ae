"""Which views are a selection, by the plan of the server, and what an account without privileges is told."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from services.system_api.sources.table.mysql.connection import MysqlConnection
from services.system_api.sources.table.mysql.views import check_selection
from shared.errors import SettingsError, Unauthorized, Unavailable


class Connection(MysqlConnection):
    """Answers EXPLAIN."""

    def __init__(self, answer: Sequence[Any] | Exception) -> None:
        self.answer = answer

    async def fetch(
        self, statement: str, _arguments: Sequence[object] = (), _timeout: float | None = None
    ) -> Sequence[Any]:
        assert statement == "EXPLAIN SELECT * FROM `shop`.`viewed`"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def check(answer: Sequence[Any] | Exception) -> None:
    await check_selection(Connection(answer), "viewed", "`shop`.`viewed`")


def unavailable(code: int) -> Unavailable:
    error = Unavailable("the server's words")
    error.__cause__ = OperationalError("EXPLAIN", (), Exception(code, "its words"))
    return error


async def test_a_selection_is_one_simple_step() -> None:
    await check([(1, "SIMPLE", "orders", "ALL")])


@pytest.mark.parametrize(
    "plan",
    [
        [(1, "SIMPLE", "o", "ALL"), (1, "SIMPLE", "c", "eq_ref")],
        [(1, "PRIMARY", "<derived2>", "ALL"), (2, "DERIVED", "orders", "ALL")],
        [(1, "SIMPLE", None, None)],
    ],
)
async def test_any_other_plan_needs_an_overlap(plan: Sequence[Any]) -> None:
    with pytest.raises(SettingsError, match=r"^overlap: viewed is a view of more than"):
        await check(plan)


@pytest.mark.parametrize("error", [Unauthorized("denied"), unavailable(1345)])
async def test_a_plan_that_the_account_may_not_see_needs_an_overlap(error: Exception) -> None:
    with pytest.raises(SettingsError, match=r"^overlap: the account may not see .* GRANT SHOW VIEW"):
        await check(error)


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="the server's words"):
        await check(unavailable(2013))
