import pytest

from services.process_api.api.operations import OPERATIONS


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS))
def test_every_operation_says_what_it_answers_and_by_whom_it_is_used(method: str, path: str) -> None:
    found = OPERATIONS[method, path]
    assert any(200 <= status < 300 for status in found.responses)
    assert not found.summary.endswith(".")
    operators = path.startswith(("/pipelines", "/dead-letters"))
    assert found.security == (("operator",) if operators else () if method == "GET" else None)
    codes = {problem.code for problem in found.problems}
    assert ("unauthorized" in codes) is operators
    if operators and method == "POST":
        assert codes >= {"forbidden", "malformed", "too-large", "unavailable"}
    assert ("not-found" in codes) is (operators and "{" in path)
