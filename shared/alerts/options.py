"""What the operator says about alerts."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.settings import Options, RelativePath, Secret

# Read by Python here, and in the schema by ECMA-262 and Rust: `\"` is no escape there, and each has its own `\s`, `\w`.
_PART = r'[^\s@<>,;:"\\\x00-\x1f\x7f\x85\ufeff]+'
_BARE = f"^{_PART}@{_PART}$"
# Of ASCII: letters, digits, the space and `_.:/-`; of the rest, all but control characters and ends of lines.
_NAME = r"^[^\x00-\x1f!-,;-@\[-\^`{-\x9f\u2028\u2029]{1,40}$"


def _short(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError(
            "expected text of the form 'Orders eu-1': at most 40 letters, digits, spaces and any of _ . : / -,"
            f" found {value[:60]!r}"
        )
    return value


def _bare(value: str) -> str:
    if not re.fullmatch(_BARE, value):
        raise ValueError(f"expected a bare e-mail address, such as devops@example.com, found {value!r}")
    return value


Address = Annotated[str, AfterValidator(_bare), Field(max_length=254, json_schema_extra={"pattern": _BARE})]
"""A bare e-mail address, e.g. `devops@example.com`."""

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class SmtpOptions(Options):
    """The mail server that takes the mails."""

    host: str = Field(min_length=1)
    """Name or address of the server."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """By default 587 with `starttls`, 465 with `tls`, 25 with `none`."""

    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` and `tls` refuse a server that does not speak TLS or whose certificate is not trusted."""

    ca: RelativePath | None = None
    """PEM file of the authorities to trust; by default those of the system."""

    user: str | None = None
    """Who logs in, if the server wants that."""

    password: Secret | None = None
    """Of the user."""

    timeout: float = Field(default=15.0, gt=0)
    """Seconds that each step of the conversation may take."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or _PORTS[self.security]

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together")
        if self.user is not None and self.security == "none" and self.host not in _LOOPBACK:
            raise ValueError("a password is not sent without TLS; set security to 'starttls' or 'tls'")
        return self


class AlertOptions(Options):
    """Who is told of trouble, and how often."""

    smtp: SmtpOptions | None = None
    """The mail server; without one, alerts are in the log only."""

    sender: Address = "trelay@localhost"
    """The address that mails come from."""

    recipients: list[Address] = Field(default_factory=list)
    """Who gets them."""

    name: Annotated[str, AfterValidator(_short)] = Field(default="trelay", json_schema_extra={"pattern": _NAME})
    """Begins every subject, to tell one deployment from another."""

    gather: float = Field(default=5.0, ge=0)
    """Seconds from the first news to the mail: what fails together is told together."""

    digest_interval: float = Field(default=3600.0, gt=0)
    """Seconds between reminders of a problem that lasts, and between mails about events of one kind and place."""

    mails_per_hour: int = Field(default=10, ge=1, le=1000)
    """However much happens; beyond this, news wait for the next mail. After a quiet hour, as many may go at once."""

    spool: RelativePath | None = None
    """Folder of this process alone, for mails that are not sent yet, and for which problems are open: without one, a
    restart forgets both, and nobody is told of the end of a problem that an earlier process told of."""

    keep: int = Field(default=100, ge=1)
    """Unsent mails that are kept; the oldest are dropped beyond that."""

    @model_validator(mode="after")
    def _somebody_to_tell(self) -> Self:
        if self.smtp is not None and not self.recipients:
            raise ValueError("smtp is set, and recipients names nobody")
        return self
