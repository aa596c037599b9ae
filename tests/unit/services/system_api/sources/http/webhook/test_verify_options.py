"""The settings that say how a sender proves who it is."""

from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from services.system_api.sources.http.webhook.verify_options import VerifyOptions, standard_key

_options: TypeAdapter[Any] = TypeAdapter(VerifyOptions)


@pytest.mark.parametrize("secret", ["whsec_***", "whsec_", "not base64!"])
def test_a_secret_of_standard_webhooks_is_base64(secret: str) -> None:
    with pytest.raises(ValidationError, match="found a secret that is not base64"):
        _options.validate_python({"kind": "standard", "secrets": [secret]})


@pytest.mark.parametrize("secret", ["whsec_c2VjcmV0", "c2VjcmV0"])
def test_the_prefix_is_no_part_of_the_key(secret: str) -> None:
    assert _options.validate_python({"kind": "standard", "secrets": [secret]}).kind == "standard"
    assert standard_key(SecretStr(secret)) == b"secret"


def test_a_secret_is_required() -> None:
    with pytest.raises(ValidationError, match="secrets"):
        _options.validate_python({"kind": "github", "secrets": []})
