import pytest
from pydantic import ValidationError

from services.experience_api.http.entity import EntityOptions
from services.experience_api.producers.options import ProducerOptions
from services.experience_api.settings import ExperienceOptions

TOKEN = "0123456789abcdef01234567"
SHOP = {"tokens": [TOKEN], "channels": ["orders.**"]}


def test_a_producer_has_channels_and_credentials() -> None:
    options = ProducerOptions.model_validate(SHOP)
    assert [token.get_secret_value() for token in options.tokens] == [TOKEN]
    assert options.channels == ("orders.**",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": ["a"]}, "expected `tokens` or `certificates`"),
        ({"tokens": [TOKEN], "channels": ["a..b"]}, "expected a channel or a pattern"),
        ({"tokens": [TOKEN], "channels": []}, "at least 1 item"),
        ({"tokens": [TOKEN]}, "channels"),
        ({"tokens": ["hunter2"], "channels": ["a"]}, "found 7 characters, expected at least 24"),
        ({"certificates": ["a b"], "channels": ["a"]}, "a name without white space"),
    ],
)
def test_what_is_wrong_with_a_producer_is_named_without_its_token(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ProducerOptions.model_validate(options)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", ["token", "certificate"])
def test_two_producers_cannot_share_a_credential(kind: str) -> None:
    same = {"channels": ["a"], f"{kind}s": [TOKEN]}
    with pytest.raises(ValidationError, match=f"producers 'a' and 'b' have the same {kind}") as caught:
        EntityOptions.model_validate({"producers": {"a": same, "b": same}})
    assert TOKEN not in str(caught.value)
    EntityOptions.model_validate({"producers": {"a": {**same, f"{kind}s": [TOKEN, TOKEN]}}})


def test_certificates_need_authorities() -> None:
    entity = {"producers": {"a": {"certificates": ["shop.example.com"], "channels": ["a"]}}}
    tls = {"cert_file": "a.pem", "key_file": "a.key"}
    for listen in ({}, {"tls": tls}):
        with pytest.raises(
            ValidationError, match=r"producers\.a\.certificates needs `client_ca_file` in `listen\.tls`"
        ):
            ExperienceOptions.model_validate({"entity": entity, "listen": listen})
    ExperienceOptions.model_validate({"entity": entity, "listen": {"tls": {**tls, "client_ca_file": "ca.pem"}}})
