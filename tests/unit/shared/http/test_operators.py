"""Who may operate a service."""

import logging
from typing import Any

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError

from shared.errors import ProblemError
from shared.http.operators import CertifiedOperatorOptions, Operator, OperatorOptions, Operators
from shared.runtime.clock import SYSTEM_CLOCK, SystemClock

TOKENS = {name: f"{name}-0123456789abcdef0123456789" for name in ("alice", "robot")}


def operators(tokens: dict[str, str], clock: SystemClock = SYSTEM_CLOCK) -> Operators:
    options = {name: OperatorOptions.model_validate({"token": token}) for name, token in tokens.items()}
    return Operators(options, "system.operators", clock)


def refused(found: Operators, peer: str | None, **headers: str) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        found.identify(peer, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}))
    return caught.value


def test_a_token_names_the_operator_wherever_the_request_comes_from() -> None:
    for name, token in TOKENS.items():
        headers = CIMultiDict({"Authorization": f"bearer {token}", "X-Forwarded-For": "192.0.2.7"})
        assert operators(TOKENS).identify("10.0.0.5", headers).name == name


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer x", f"Basic {TOKENS['alice']}", f"Bearer {TOKENS['alice']}x", "Bearer \udcff"]
)
def test_without_a_known_token_even_this_machine_is_refused(value: str) -> None:
    error = refused(operators(TOKENS), "127.0.0.1", Authorization=value)
    assert (error.status, error.headers["WWW-Authenticate"]) == (401, 'Bearer realm="trelay operators"')


def test_without_tokens_this_machine_may() -> None:
    assert operators({}).identify("127.0.0.1", CIMultiDict()) == Operator("loopback", "127.0.0.1")
    assert operators({}).identify("::1", CIMultiDict()).name == "loopback"


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.0.2.7", {}),
        (None, {}),
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1"}),
        ("127.0.0.1", {"Via": "1.1 proxy"}),
        ("127.0.0.1", {"Origin": "http://127.0.0.1:8081"}),
        ("127.0.0.1", {"Sec_Fetch_Site": "cross-site"}),
    ],
)
def test_without_tokens_nobody_else_may_and_no_page_in_a_browser(peer: str | None, headers: dict[str, str]) -> None:
    error = refused(operators({}), peer, **headers)
    assert error.status == 403
    assert "system.operators" in error.detail


def test_reading_needs_a_token_only_where_there_are_tokens() -> None:
    operators({}).check_reader("192.0.2.7", CIMultiDict())
    operators(TOKENS).check_reader("192.0.2.7", CIMultiDict({"Authorization": f"Bearer {TOKENS['alice']}"}))
    with pytest.raises(ProblemError) as caught:
        operators(TOKENS).check_reader("127.0.0.1", CIMultiDict())
    assert caught.value.status == 401


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ValidationError, match="too short: found 5 characters, expected at least 24"):
        OperatorOptions.model_validate({"token": "short"})


class SteppedClock(SystemClock):
    at = 100.0

    def monotonic(self) -> float:
        return self.at


def test_a_flood_of_refusals_is_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = SteppedClock()
    found = operators(TOKENS, clock)
    for _ in range(100):
        refused(found, "192.0.2.7")
    clock.at += 1.0
    refused(found, "192.0.2.7")
    assert [record.__dict__["count"] for record in caplog.records] == [1, 100]
    assert caplog.records[0].__dict__["address"] == "192.0.2.7"


CERTIFIED = {
    "alice": CertifiedOperatorOptions.model_validate({"token": TOKENS["alice"], "certificates": ["alice.example.com"]}),
    "robot": CertifiedOperatorOptions.model_validate({"certificates": ["spiffe://robot"]}),
}


def certificate(name: str) -> dict[str, Any]:
    return {"subjectAltName": (("URI", name),)}


def test_a_certificate_names_its_operator_and_a_wrong_token_beside_it_is_refused() -> None:
    found = Operators(CERTIFIED, "experience.admin.operators", SYSTEM_CLOCK)
    assert found.named
    assert found.identify("10.0.0.5", CIMultiDict(), certificate("spiffe://robot")) == Operator("robot", "10.0.0.5")
    assert found.identify("10.0.0.5", CIMultiDict(), certificate("alice.example.com")).name == "alice"
    token = CIMultiDict({"Authorization": f"Bearer {TOKENS['alice']}"})
    assert found.identify("10.0.0.5", token, certificate("spiffe://robot")).name == "alice"
    for headers, presented in (
        (CIMultiDict[str](), certificate("spiffe://other")),
        (CIMultiDict[str](), None),
        (CIMultiDict({"Authorization": "Bearer wrong"}), certificate("spiffe://robot")),
    ):
        with pytest.raises(ProblemError) as caught:
            found.identify("127.0.0.1", headers, presented)
        assert caught.value.status == 401


def test_an_operator_has_a_token_or_a_certificate() -> None:
    with pytest.raises(ValidationError, match="expected `token` or `certificates`"):
        CertifiedOperatorOptions.model_validate({})
    with pytest.raises(ValidationError, match="found 7 characters, expected at least 24") as caught:
        CertifiedOperatorOptions.model_validate({"token": "hunter2"})
    assert "hunter2" not in str(caught.value)
