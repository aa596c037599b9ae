"""Who subscribes: the credentials of a client, or a token."""

import re
from dataclasses import asdict, dataclass

from trelay_client.errors import UsageError

_NOT_SENDABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The id and secret of a client. A token is requested with them when one is needed."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        """Show the id without the secret."""
        return f"ClientCredentials({self.client_id!r})"


@dataclass(frozen=True, slots=True)
class Token:
    """The token of a consumer. If it is refused, the stream ends."""

    token: str

    def __repr__(self) -> str:
        """Hide the token."""
        return "Token(…)"


def check_credentials(credentials: ClientCredentials | Token) -> None:
    """Check that credentials can be sent in headers.

    Raises:
        UsageError: they cannot, because of the line feed at the end of a file for example. The text holds nothing of
            them.
    """
    for name, text in asdict(credentials).items():
        if _NOT_SENDABLE.search(text):
            raise UsageError(
                f"{name}: found a control character, such as the line feed that ends a file; expected none"
            )
