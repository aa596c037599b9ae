"""Generates, hashes and compares client secrets. Sans-I/O; `clients.py` runs the slow comparisons in threads.

There are two kinds, distinguished by their form and stored with a prefix that names the scheme:

- *Generated* secrets have 256 random bits. They cannot be guessed, so one salted SHA-256 is enough, which takes a
  microsecond.
- *Chosen* secrets can be guessed: scrypt makes each guess cost some 50 ms and 16 MiB.

The cost of a comparison depends only on the form of the *presented* secret, so its time does not reveal whether the
client exists, which kind its secret is, or whether an older one is valid as well: a chosen secret gets the salt of the
one that it replaces, so that one hash is compared with both.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.errors import Malformed

_MARK = "trs_"
_GENERATED = re.compile(r"trs_[A-Za-z0-9_-]{43}")
_SECRET_BYTES = 32
_SALT_BYTES = 16
_DIGEST_BYTES = 32
_FAST, _SLOW = "sha256", "scrypt"
CHOSEN_LIMIT = 256
"""Bytes of UTF-8 in a chosen secret: more only costs the hash time."""

# RFC 7914; 2**14, 8, 1 are the parameters its authors recommend for interactive logins.
_PARAMETERS = (2**14, 8, 1)
_SCRYPT_MEMORY = 64 * 1024 * 1024

Bytes = Callable[[int], bytes]
"""Returns random bytes: `secrets.token_bytes`, or a test's own."""


def generate(rng: Bytes) -> str:
    """Return a new secret of 256 bits, with a prefix that scanners for leaked secrets can recognise."""
    return _MARK + _encode(rng(_SECRET_BYTES))


def is_generated(secret: str) -> bool:
    """Return whether a secret has the form of `generate`, which is cheap to compare."""
    return _GENERATED.fullmatch(secret) is not None


def hash_secret(secret: str, rng: Bytes, replaced: str | None = None) -> str:
    """Return the hash to store: `sha256$salt$digest` or `scrypt$n$r$p$salt$digest`.

    Slow for a chosen secret. `replaced` is the stored hash of the secret that this one replaces.

    Raises:
        Malformed: a chosen secret is empty, longer than `CHOSEN_LIMIT` bytes, or holds a control character.
    """
    salt = rng(_SALT_BYTES)
    if is_generated(secret):
        return f"{_FAST}${_encode(salt)}${_encode(_sha256(secret, salt))}"
    if not 0 < len(secret.encode()) <= CHOSEN_LIMIT or not secret.isprintable():
        raise Malformed(f"the secret is invalid; expected 1 to {CHOSEN_LIMIT} bytes without control characters")
    before = None if replaced is None else _parse(replaced)
    if before is not None and before.scheme == _SLOW:
        salt = before.salt
    cost, block, parallel = _PARAMETERS
    digest = _scrypt(secret, salt, cost, block, parallel)
    return f"{_SLOW}${cost}${block}${parallel}${_encode(salt)}${_encode(digest)}"


@dataclass(frozen=True, slots=True)
class _Stored:
    """A parsed hash."""

    scheme: str
    parameters: tuple[int, int, int]
    salt: bytes
    digest: bytes

    @property
    def salted(self) -> tuple[tuple[int, int, int], bytes]:
        """What a secret is hashed with."""
        return self.parameters, self.salt


class Comparison:
    """Compares presented secrets with stored hashes, or with a decoy if there are none of the same kind."""

    def __init__(self, rng: Bytes) -> None:
        """Generate the decoys, which match no secret."""
        self._decoys = {
            scheme: _Stored(scheme, _PARAMETERS, rng(_SALT_BYTES), rng(_DIGEST_BYTES)) for scheme in (_FAST, _SLOW)
        }

    def matches(self, presented: str, stored: Sequence[str]) -> bool:
        """Return whether the secret matches one of the stored hashes. Slow unless the secret has the generated form.

        Takes the same time whatever is stored, and if nothing is.
        """
        scheme = _FAST if is_generated(presented) else _SLOW
        known = [each for each in map(_parse, stored) if each.scheme == scheme]
        against = known or [self._decoys[scheme]]
        digests = {each.salted: b"" for each in against}
        for each in against:
            digests[each.salted] = digests[each.salted] or _digest(presented, each)
        same = [hmac.compare_digest(digests[each.salted], each.digest) for each in against]
        return any(same) and bool(known)


def _parse(stored: str) -> _Stored:
    match stored.split("$"):
        case ["sha256", salt, digest]:
            return _Stored(_FAST, _PARAMETERS, _decode(salt), _decode(digest))
        case ["scrypt", cost, block, parallel, salt, digest]:
            return _Stored(_SLOW, (int(cost), int(block), int(parallel)), _decode(salt), _decode(digest))
        case _:
            raise Malformed("the stored hash of a secret has an unknown scheme")


def _digest(secret: str, stored: _Stored) -> bytes:
    if stored.scheme == _FAST:
        return _sha256(secret, stored.salt)
    return _scrypt(secret, stored.salt, *stored.parameters)


def _sha256(secret: str, salt: bytes) -> bytes:
    return hashlib.sha256(salt + secret.encode()).digest()


def _scrypt(secret: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        secret.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=_SCRYPT_MEMORY, dklen=_DIGEST_BYTES
    )


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
