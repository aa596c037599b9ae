"""Chooses the key that signs among those that verify. Sans-I/O.

Replicas learn of a new key at different moments, and one that does not know it yet refuses its tokens. So a new key
only verifies at first, and signs once every replica can be expected to know it.
"""

from collections.abc import Sequence

from services.experience_api.registry.tokens import SigningKey


class Keyring:
    """Keys, the newest first, and since when each is known here."""

    def __init__(self, keys: Sequence[SigningKey], sign_after: float, now: float) -> None:
        """`sign_after` is the seconds for which a key only verifies. There is at least one key."""
        self._sign_after = sign_after
        self._since: dict[SigningKey, float] = {}
        self.replace(keys, now)

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """All keys, the newest first."""
        return tuple(self._since)

    def replace(self, keys: Sequence[SigningKey], now: float) -> None:
        """Know these keys from now on, and no others."""
        self._since = {key: self._since.get(key, now) for key in keys}

    def signing(self, now: float) -> SigningKey:
        """Return the newest key that has been known for long enough; the oldest one while none has."""
        for key, since in self._since.items():
            if now - since >= self._sign_after:
                return key
        return self.keys[-1]
