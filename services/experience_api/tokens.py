"""The token of a consumer: a JWT (RFC 7519) signed with HS256. Sans-I/O, and the one home of PyJWT.

The token names its client and carries an id of 256 bits of which only the hash is kept, beside the client: so a token
that was replaced or forgotten is refused, and neither the signing key alone nor a copy of the database alone makes
one. How long it is good is not in it: that depends on when its consumer was last connected.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import jwt
from pydantic import Field, SecretStr, field_validator

from services.experience_api.credentials import CLIENT_ID
from services.experience_api.refusals import TOKEN_REFUSED, Refused
from shared.settings import Options, Secret

_ALGORITHM = "HS256"
_SIGNATURE_LENGTH = 43
_SIGNATURE_ENDS = frozenset("AEIMQUYcgkosw048")
"""How 32 bytes can end in base64url: the last character's low two bits are nobody's, and must be 0.

A reader that ignores them takes four spellings for the same signature, so a changed token for a good one.
"""

KEY_BYTES = 32
"""RFC 7518, 3.2: a key for HS256 has at least as many bits as the hash."""


class KeyOptions(Options):
    """A key that signs tokens."""

    id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")
    """Its name in the tokens' headers; never give a name to another key."""

    secret: Secret
    """At least 32 bytes, e.g. from `openssl rand -base64 48`."""

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value().encode()) < KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes at least")
        return secret

    def key(self) -> "SigningKey":
        """Return the key itself."""
        return SigningKey(self.id, self.secret.get_secret_value().encode())


class TokenOptions(Options):
    """The tokens of consumers."""

    issuer: str = Field(default="trelay", min_length=1, max_length=100)
    """The claim `iss`; a token of another issuer is refused."""

    keys: tuple[KeyOptions, ...] = ()
    """The first one signs, all of them verify: to rotate, put a new one in front, and remove the old one when the
    consumers that came with its tokens have registered again. None: one is made once and kept in the database."""

    expires_after_days_disconnected: (
        Annotated[int, Field(gt=0, le=36_500)] | Annotated[float, Field(gt=0, le=36_500)]
    ) = 30
    """Days after its last connection for which a token is good. While its consumer is connected it always is."""

    @field_validator("keys")
    @classmethod
    def _distinct(cls, keys: tuple[KeyOptions, ...]) -> tuple[KeyOptions, ...]:
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("two keys have the same id")
        return keys


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


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token, and what is to be kept of it."""

    token: str = field(repr=False)
    claims: TokenClaims


def _new_id() -> str:
    return secrets.token_urlsafe(32)


class Tokens:
    """Issues tokens and reads them back."""

    def __init__(
        self, keys: Sequence[SigningKey], *, issuer: str = "trelay", new_id: Callable[[], str] = _new_id
    ) -> None:
        """The first key signs; every key verifies, so that keys can be rotated."""
        self._signing = keys[0]
        self._issuer = issuer
        self._new_id = new_id
        # A token of ours begins with one of a few known texts. Whatever else a header says (`none`, another
        # algorithm, a key to fetch) is refused unread.
        self._keys = {self._sign(key, {}).partition(".")[0]: key for key in keys}

    def issue(self, client_id: str, now: float) -> IssuedToken:
        """Make a token for a client; `now` in seconds since 1970."""
        token_id = self._new_id()
        claims: dict[str, str | int] = {"iss": self._issuer, "sub": client_id, "iat": int(now), "jti": token_id}
        return IssuedToken(self._sign(self._signing, claims), TokenClaims(client_id, _hash(token_id)))

    def read(self, token: str, client_id: str | None = None) -> TokenClaims:
        """Return what a token of ours says; `client_id` is whose the request says it is, where it does.

        Raises:
            Refused: `TOKEN_REFUSED`: not signed by us, altered, or another client's.
        """
        key = self._keys.get(token.partition(".")[0])
        if key is None or token[-1] not in _SIGNATURE_ENDS or len(token.rpartition(".")[2]) != _SIGNATURE_LENGTH:
            raise Refused(TOKEN_REFUSED)
        try:
            claims = jwt.decode(
                token,
                key.secret,
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                # `iat` is only said: another replica's clock may be ahead of ours.
                options={"require": ["iss", "sub", "iat", "jti"], "verify_iat": False},
            )
        except jwt.InvalidTokenError as exc:
            raise Refused(TOKEN_REFUSED) from exc
        subject, token_id = claims["sub"], claims["jti"]
        if not isinstance(token_id, str) or not CLIENT_ID.fullmatch(subject) or client_id not in {None, subject}:
            raise Refused(TOKEN_REFUSED)
        return TokenClaims(subject, _hash(token_id))

    def _sign(self, key: SigningKey, claims: dict[str, str | int]) -> str:
        return jwt.encode(claims, key.secret, algorithm=_ALGORITHM, headers={"kid": key.id})


def new_key(dice: Callable[[int], bytes] = secrets.token_bytes) -> SigningKey:
    """Make a key that nobody knows."""
    return SigningKey("generated", dice(KEY_BYTES))


def _hash(token_id: str) -> bytes:
    return hashlib.sha256(token_id.encode()).digest()
