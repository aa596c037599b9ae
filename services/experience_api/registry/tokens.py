"""What the registry keeps of tokens: the key that signs them, and whose each one is. Sans-I/O."""

from dataclasses import dataclass, field

KEY_BYTES = 32
"""RFC 7518, 3.2: a key for HS256 has at least as many bits as the hash."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and its name in the tokens' headers."""

    id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a key that can be guessed."""
        if len(self.secret) < KEY_BYTES:
            raise ValueError(f"signing key {self.id!r} has {len(self.secret)} bytes, {KEY_BYTES} are the least")


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a genuine token says."""

    client_id: str
    token_hash: bytes
    """SHA-256 of the token's id: what the database knows of it."""
