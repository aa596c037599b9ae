"""What the registry stores of tokens: the key that signs them, and the hash of each. Sans-I/O."""

from dataclasses import dataclass, field

KEY_BYTES = 32
"""RFC 7518, 3.2: a key for HS256 has at least as many bits as the hash."""


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
