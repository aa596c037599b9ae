import pytest

from services.system_api.api.operations import OPERATIONS
from services.system_api.sources.http.webhook import refusals


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS))
def test_every_operation_says_what_it_answers_and_by_whom_it_is_used(method: str, path: str) -> None:
    found = OPERATIONS[method, path]
    assert any(200 <= status < 300 for status in found.responses)
    assert not found.summary.endswith(".")
    operators = path.startswith("/sources")
    assert found.security == (("operator",) if operators else () if method == "GET" else None)
    codes = {problem.code for problem in found.problems}
    assert ("unauthorized" in codes) is operators
    if operators and method == "POST":
        assert codes >= {"forbidden", "malformed", "too-large", "unavailable"}
    assert ("not-found" in codes) is (operators and "{" in path)


def test_every_refusal_of_a_webhook_is_described() -> None:
    described = {problem.code: problem for problem in OPERATIONS["POST", "/hooks/{source}"].problems}
    assert described.keys() == {refusal.code for refusal in refusals.REFUSALS}
    assert described["token-wrong"].headers == (("WWW-Authenticate", refusals.TOKEN_WRONG.challenge),)
    assert described["too-slow"].title == "The body did not arrive in time"
