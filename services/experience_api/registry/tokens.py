"""What the registry stores of tokens: the key that signs them, and the hash of each. Sans-I/O."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

KEY_BYTES = 32
"""RFC 7518, 3.2: a key for HS256 has at least as many bits as the hash."""

_UNUSED_TOKENS = 10
"""So many tokens of a client with several connections stay valid at least while no connection uses them."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and its id in the header of tokens."""

    id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a key that is too short."""
        if len(self.secret) < KEY_BYTES:
            raise ValueError(f"signing key {self.id!r}: found {len(self.secret)} bytes; expected at least {KEY_BYTES}")


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The claims of a genuine token."""

    client_id: str
    token_hash: bytes
    """SHA-256 of the token's id, which is all the database stores of it."""


def kept_tokens(known: Mapping[bytes, float], in_use: Collection[bytes], max_connections: int) -> dict[bytes, float]:
    """Return which tokens of a client with several connections stay valid beside a new one, and when each was used.

    `known` says when each was used last, `in_use` are those of connections: they stay. Of the others, with the new one,
    as many stay as the client may have connections, or 10 if that is more: those that were used last.
    """
    unused = sorted((each for each in known if each not in in_use), key=known.__getitem__, reverse=True)
    ended = set(unused[max(max_connections, _UNUSED_TOKENS) - 1 :])
    return {each: at for each, at in known.items() if each not in ended}
