"""The settings of alerts, in the terms of Prometheus Alertmanager."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.settings import Options, RelativePath, Secret

# Python reads these patterns here; ECMA-262 and Rust read them in the schema, with no `\"` and another `\s` and `\w`.
_PART = r'[^\s@<>,;:"\\\x00-\x1f\x7f\x85\ufeff]+'
_BARE = f"^{_PART}@{_PART}$"
# In ASCII: letters, digits, the space and `_.:/-`. Beyond it: everything but control characters and line separators.
_NAME = r"^[^\x00-\x1f!-,;-@\[-\^`{-\x9f\u2028\u2029]{1,40}$"


def _check_name(value: str) -> str:
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
    """The mail server that mails are sent to."""

    host: str = Field(min_length=1)
    """Name or address of the server."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """By default 587 with `starttls`, 465 with `tls`, 25 with `none`."""

    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` and `tls` refuse a server without TLS, or with a certificate that is not trusted."""

    ca_file: RelativePath | None = None
    """CA bundle (PEM) for the server certificate; by default that of the system."""

    user: str | None = None
    """User name, where the server requires authentication."""

    password: Secret | None = None
    """Password of the user."""

    timeout: float = Field(default=15.0, gt=0)
    """Seconds that each command of the SMTP session may take."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or _PORTS[self.security]

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together: set both or neither")
        if self.user is not None and self.security == "none" and self.host not in _LOOPBACK:
            raise ValueError("a password is not sent without TLS: set security to 'starttls' or 'tls'")
        return self


class AlertOptions(Options):
    """Who gets alerts, and how often. What is said of mails holds for notifications as well."""

    smtp: SmtpOptions | None = None
    """The mail server. Without one, alerts are logged only."""

    sender: Address = "trelay@localhost"
    """The address that mails are sent from."""

    recipients: list[Address] = Field(default_factory=list)
    """The addresses that mails are sent to."""

    notify: list[Secret] = Field(default_factory=list)
    """Chats, pagers and webhooks that get the same alerts, each by a URL of Apprise such as
    `slack://TokenA/TokenB/TokenC/#channel`, `msteams://…`, `pagerduty://…`, `json://host/path`. A URL contains secrets.
    Needs the extra `notify`."""

    name: Annotated[str, AfterValidator(_check_name)] = Field(default="trelay", json_schema_extra={"pattern": _NAME})
    """The name of this deployment; the subject of each mail begins with it."""

    group_wait: float = Field(default=5.0, ge=0)
    """Seconds from the first change to the mail, so that problems that begin together share a mail."""

    resolve_wait: float = Field(default=60.0, ge=0)
    """Seconds for which a problem must be over until a mail reports its end; twice as long if it began twice, and so on
    up to five times. A problem that comes and goes has one mail at its beginning and one at its end."""

    repeat_interval: float = Field(default=3600.0, gt=0)
    """Seconds between mails about a problem that lasts, and between mails about events of one kind and place."""

    mails_per_hour: int = Field(default=10, ge=1, le=1000)
    """The most mails in an hour; more changes wait for the next mail. After a quiet hour, all may go at once."""

    spool: RelativePath | None = None
    """Folder for unsent mails and the list of open problems, used by one process alone. Without it, a restart loses
    both: no mail reports the end of a problem that an earlier process reported."""

    max_unsent: int = Field(default=100, ge=1)
    """Unsent mails that are kept; the oldest are dropped beyond that."""

    @model_validator(mode="after")
    def _recipients_are_named(self) -> Self:
        if self.smtp is not None and not self.recipients:
            raise ValueError("recipients: smtp needs at least one address to send mails to")
        return self
