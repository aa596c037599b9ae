import pytest
from pydantic import ValidationError

from services.experience_api.admin.options import AdminOptions
from services.experience_api.settings import ExperienceOptions

TOKEN = "0123456789abcdef01234567"


def test_there_is_no_admin_api_by_default_and_its_port_is_its_own() -> None:
    assert ExperienceOptions().admin is None
    options = AdminOptions.model_validate({"operators": {"oncall": {"token": TOKEN}}})
    assert options.listen.host == "127.0.0.1"
    assert options.listen.port not in {ExperienceOptions().listen.port, 8081, 8082}


@pytest.mark.parametrize("kind", ["token", "certificate"])
def test_two_operators_cannot_share_a_credential(kind: str) -> None:
    tls = {"cert_file": "a.pem", "key_file": "a.key", "client_ca_file": "ca.pem"}
    same = {"token": TOKEN} if kind == "token" else {"certificates": ["a.example.com"]}
    with pytest.raises(ValidationError, match=f"operators 'a' and 'b' have the same {kind}") as caught:
        AdminOptions.model_validate({"listen": {"tls": tls}, "operators": {"a": same, "b": same}})
    assert TOKEN not in str(caught.value)


def test_certificates_need_authorities() -> None:
    operators = {"a": {"certificates": ["a.example.com"]}}
    tls = {"cert_file": "a.pem", "key_file": "a.key"}
    for listen in ({}, {"tls": tls}):
        with pytest.raises(ValidationError, match=r"operators\.a\.certificates needs `client_ca_file`"):
            AdminOptions.model_validate({"operators": operators, "listen": listen})
    AdminOptions.model_validate({"operators": operators, "listen": {"tls": {**tls, "client_ca_file": "ca.pem"}}})


def test_health_is_not_on_this_listener() -> None:
    with pytest.raises(ValidationError, match=r"`experience\.listen\.health` is that one"):
        AdminOptions.model_validate({"listen": {"health": {"port": 0}}})
