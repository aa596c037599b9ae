"""The settings of producers."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from services.experience_api.hub.patterns import LENGTH_LIMIT, PATTERN, check_pattern
from shared.settings import Checked, Form, Options, Secret

_MIN_TOKEN = 24


def _long(token: SecretStr) -> SecretStr:
    length = len(token.get_secret_value())
    if length < _MIN_TOKEN:
        raise ValueError(f"the token is too short: found {length} characters, expected at least {_MIN_TOKEN}")
    return token


ChannelPattern = Annotated[str, Checked(check_pattern, PATTERN, LENGTH_LIMIT)]
"""A channel, or a pattern of channels."""


class ProducerOptions(Options):
    """One program that may push events, from any address."""

    tokens: tuple[Annotated[Secret, AfterValidator(_long)], ...] = ()
    """Sent as `Authorization: Bearer …`; each at least 24 characters, such as those of `openssl rand -hex 16`. Several
    are valid at the same time, so that a token can be replaced without a refused push."""

    certificates: tuple[Annotated[str, Form(r"^\S+$", "a name without white space")], ...] = ()
    """Names in client certificates (mutual TLS): a DNS name, URI or e-mail address of the subject alternative names, or
    the common name of a certificate without any of these. `listen.tls.client_ca_file` names who issues them."""

    channels: tuple[ChannelPattern, ...] = Field(min_length=1)
    """The channels that it may publish to: 'orders.eu', 'orders.*' for one more word, 'orders.**' for any number, '**'
    for every channel."""

    @model_validator(mode="after")
    def _can_be_known(self) -> Self:
        if not self.tokens and not self.certificates:
            raise ValueError("expected `tokens` or `certificates`, or no request could come from this producer")
        return self
