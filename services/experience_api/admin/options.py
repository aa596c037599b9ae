"""The settings of the admin API."""

from typing import Self

from pydantic import Field, model_validator

from shared.http.operators import CertifiedOperatorOptions
from shared.http.server import ListenOptions
from shared.settings import Name, Options


class AdminOptions(Options):
    """An API for operators: clients, consumers and their connections, publishing, and the history."""

    listen: ListenOptions = ListenOptions(port=8083)
    """A listener of its own. Subscribers and producers do not use it; what it serves is on no other listener."""

    operators: dict[Name, CertifiedOperatorOptions] = Field(default_factory=dict)
    """Who may send requests, by name. Without any, requests from this machine itself are accepted, and no others."""

    @model_validator(mode="after")
    def _health_is_elsewhere(self) -> Self:
        if self.listen.health is not None:
            raise ValueError("listen.health: found a listener; expected none, `experience.listen.health` is that one")
        return self

    @model_validator(mode="after")
    def _certificates_are_verified(self) -> Self:
        names = [name for name, operator in self.operators.items() if operator.certificates]
        if names and (self.listen.tls is None or self.listen.tls.client_ca_file is None):
            raise ValueError(
                f"operators.{names[0]}.certificates needs `client_ca_file` in `listen.tls`, which names the "
                "authorities of client certificates"
            )
        return self

    @model_validator(mode="after")
    def _each_credential_has_one_operator(self) -> Self:
        owners: dict[tuple[str, str], str] = {}
        for name, operator in self.operators.items():
            tokens = [] if operator.token is None else [("token", operator.token.get_secret_value())]
            for credential in [*tokens, *(("certificate", each) for each in operator.certificates)]:
                if owners.setdefault(credential, name) != name:
                    raise ValueError(
                        f"operators {owners[credential]!r} and {name!r} have the same {credential[0]}; expected one "
                        "operator for each"
                    )
        return self
