"""Issues and verifies the tokens of consumers: JWTs (RFC 7519) signed with HS256. Sans-I/O; the only user of PyJWT.

A token names its client and carries an id of 256 bits, of which the registry stores only the hash. So a replaced token
is refused, and neither the signing key alone nor a copy of the database alone is enough to forge one. Its expiry is not
part of it: that depends on when its consumer was last connected.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import jwt
from pydantic import Field, SecretStr, field_validator, model_validator

from services.experience_api.auth.credentials import CLIENT_ID
from services.experience_api.auth.keyring import Keyring
from services.experience_api.refusals import TICKET_REFUSED, TOKEN_REFUSED, Refusal, Refused
from services.experience_api.registry.tokens import KEY_BYTES, SigningKey, TokenClaims
from shared.settings import Form, Options, RelativePath, Secret

_ALGORITHM = "HS256"
_TICKET = "ticket"
TICKET_SECONDS = 30
"""How long a ticket is valid."""
_SIGNATURE_LENGTH = 43
_SIGNATURE_ENDS = frozenset("AEIMQUYcgkosw048")
"""The last characters that 32 bytes can have in base64url: its low two bits are unused, and must be 0.

A decoder that ignores them accepts four spellings of one signature, so an altered token as valid.
"""


class KeyOptions(Options):
    """A key that signs tokens."""

    id: Annotated[str, Form(r"^[A-Za-z0-9._-]{1,32}$", "1 to 32 letters, digits, '.', '_' and '-'")]
    """The `kid` in the header of tokens. Never reuse an id for another key."""

    secret: Secret
    """At least 32 bytes, e.g. from `openssl rand -base64 48`."""

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value().encode()) < KEY_BYTES:
            raise ValueError(f"the key is too short; expected at least {KEY_BYTES} bytes")
        return secret

    def key(self) -> SigningKey:
        return SigningKey(self.id, self.secret.get_secret_value().encode())


class TokenOptions(Options):
    """The tokens of consumers."""

    issuer: str = Field(default="trelay", min_length=1, max_length=100)
    """The claim `iss`; a token of another issuer is refused."""

    keys: tuple[KeyOptions, ...] = ()
    """The first key signs, all of them verify. To rotate, put a new one first, and remove the old one when the
    consumers with its tokens have registered again. Without any, one is generated once and stored in the database."""

    key_folder: RelativePath | None = None
    """A folder with the keys, instead of `keys`: one file for each, whose name is the id. The last by name signs, so
    name them by date, such as `2026-11`. Files that are added and removed take effect within 10 seconds."""

    sign_after: float = Field(default=300.0, ge=0)
    """Seconds for which a key that is new to this replica only verifies, so that no other replica refuses its tokens.
    While all keys are new, as after a start, the oldest one signs: the last of `keys`, the first by name."""

    expires_after_days_disconnected: (
        Annotated[int, Field(gt=0, le=36_500)] | Annotated[float, Field(gt=0, le=36_500)]
    ) = 30
    """Days for which a token is valid after its last connection. It never expires during a connection."""

    registration_overlap: float = Field(default=0.0, ge=0, le=604_800)
    """Seconds for which the previous token of a client remains valid, with its connection, after the client has
    registered again: the time to hand the new token to the program that is connected. 0 replaces it at once."""

    @field_validator("keys")
    @classmethod
    def _distinct(cls, keys: tuple[KeyOptions, ...]) -> tuple[KeyOptions, ...]:
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("found two keys with the same id; expected unique ids")
        return keys

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.keys and self.key_folder is not None:
            raise ValueError("found 'keys' and 'key_folder'; expected one of them")
        return self


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token, and the claims to store."""

    token: str = field(repr=False)
    claims: TokenClaims


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket stands for."""

    claims: TokenClaims
    """The token that it was issued for."""
    ticket_hash: bytes
    expires: float
    """When it expires, in seconds since 1970, by the clock of the registry."""


def _new_id() -> str:
    return secrets.token_urlsafe(32)


class Tokens:
    """Issues and verifies tokens."""

    def __init__(
        self,
        keys: Sequence[SigningKey],
        *,
        issuer: str = "trelay",
        new_id: Callable[[], str] = _new_id,
        sign_after: float = 0.0,
        now: float = 0.0,
    ) -> None:
        """The first key signs, once it has been known for `sign_after` seconds; every key verifies.

        `now` is in seconds since 1970.
        """
        self._keyring = Keyring(keys, sign_after, now)
        self._issuer = issuer
        self._new_id = new_id
        self._headers = self._known_headers()

    def replace_keys(self, keys: Sequence[SigningKey], now: float) -> None:
        """Sign and verify with these keys from now on. Tokens of other keys are refused."""
        self._keyring.replace(keys, now)
        self._headers = self._known_headers()

    def issue(self, client_id: str, now: float) -> IssuedToken:
        """Issue a token for a client. `now` is in seconds since 1970."""
        token_id = self._new_id()
        claims: dict[str, str | int] = {"iss": self._issuer, "sub": client_id, "iat": int(now), "jti": token_id}
        return IssuedToken(self._sign(self._keyring.signing(now), claims), TokenClaims(client_id, _hash(token_id)))

    def read(self, token: str, client_id: str | None = None) -> TokenClaims:
        """Return the claims of a token. `client_id` is the client that the request names, if any.

        Raises:
            Refused: `TOKEN_REFUSED`: not signed here, altered, or another client's.
        """
        claims = self._decoded(token, TOKEN_REFUSED)
        subject, token_id = claims["sub"], claims["jti"]
        if not isinstance(token_id, str) or not CLIENT_ID.fullmatch(subject) or client_id not in {None, subject}:
            raise Refused(TOKEN_REFUSED)
        return TokenClaims(subject, _hash(token_id))

    def issue_ticket(self, claims: TokenClaims, page: str, now: float) -> str:
        """Issue a ticket for a token. `page` is the origin of the pages that may use it; empty for any.

        `now` is in seconds since 1970 by the clock of the registry, which all replicas share: another one may read it.
        """
        more: dict[str, str | int] = {"aud": _TICKET, "iat": int(now), "origin": page}
        more |= {
            "exp": int(now) + TICKET_SECONDS,
            "iss": self._issuer,
            "sub": claims.client_id,
            "jti": self._new_id(),
            "token": claims.token_hash.hex(),
        }
        return self._sign(self._keyring.signing(now), more)

    def read_ticket(self, ticket: str, page: str) -> Ticket:
        """Return what a ticket stands for. `page` is the origin of the page that presents it; empty if there is none.

        Whether it has expired, the registry decides.

        Raises:
            Refused: `TICKET_REFUSED`: not signed here, altered, or for pages of another origin.
        """
        found = self._decoded(ticket, TICKET_REFUSED, audience=_TICKET)
        if found.get("origin") not in {"", page}:
            raise Refused(TICKET_REFUSED, "the ticket is for pages of another origin")
        claims = TokenClaims(found["sub"], bytes.fromhex(found["token"]))
        return Ticket(claims, _hash(found["jti"]), float(found.get("exp", 0)))

    def _decoded(self, token: str, refusal: Refusal, audience: str | None = None) -> dict[str, Any]:
        """Return the claims of a token that was signed here."""
        key = self._headers.get(token.partition(".")[0])
        if key is None or token[-1] not in _SIGNATURE_ENDS or len(token.rpartition(".")[2]) != _SIGNATURE_LENGTH:
            raise Refused(refusal)
        try:
            return jwt.decode(
                token,
                key.secret,
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                audience=audience,
                # `iat` is informational: the clock of another replica may be ahead. The registry compares `exp`.
                options={"require": ["iss", "sub", "iat", "jti"], "verify_iat": False, "verify_exp": False},
            )
        except jwt.InvalidTokenError as exc:
            raise Refused(refusal) from exc

    def _known_headers(self) -> dict[str, SigningKey]:
        # The header of a token signed here is one of a few known texts. Any other header (`none`, another algorithm,
        # an unknown key, a key to fetch) is refused without being decoded.
        return {self._sign(key, {}).partition(".")[0]: key for key in self._keyring.keys}

    def _sign(self, key: SigningKey, claims: dict[str, str | int]) -> str:
        return jwt.encode(claims, key.secret, algorithm=_ALGORITHM, headers={"kid": key.id})


def new_key(rng: Callable[[int], bytes] = secrets.token_bytes) -> SigningKey:
    """Generate a signing key."""
    return SigningKey("generated", rng(KEY_BYTES))


def _hash(token_id: str) -> bytes:
    return hashlib.sha256(token_id.encode()).digest()
