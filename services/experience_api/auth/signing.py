"""The keys that sign tokens: where they come from, and what replaces them while the service runs."""

import asyncio
from collections.abc import Sequence
from typing import Self

from services.experience_api.auth.key_folder import KeyFolder
from services.experience_api.auth.tokens import KeyOptions, TokenOptions, Tokens, new_key
from services.experience_api.registry.protocol import Keys
from services.experience_api.registry.tokens import SigningKey
from shared.errors import SettingsError
from shared.runtime.clock import Clock
from shared.runtime.reloading import Apply, Section


class Signing:
    """Makes `Tokens`, and replaces their keys."""

    def __init__(self, options: TokenOptions, clock: Clock, folder: KeyFolder | None = None) -> None:
        """`folder` is that of the settings; `loaded` reads it."""
        self._options = options
        self.clock = clock
        """By which it is measured how long a key is known: tokens are issued by it as well."""
        self._folder = folder
        self._keys: Sequence[SigningKey] = [key.key() for key in options.keys]
        self._tokens: Tokens | None = None

    @classmethod
    async def loaded(cls, options: TokenOptions, clock: Clock) -> Self:
        """Read the keys of the settings.

        Raises:
            SettingsError: the folder of keys cannot be used.
        """
        path = options.key_folder
        return cls(options, clock, None if path is None else await asyncio.to_thread(KeyFolder, path))

    async def tokens(self, stored: Keys) -> Tokens:
        """Return tokens with the keys of the settings, or else with the stored one.

        Raises:
            Unavailable: the registry does not answer.
        """
        keys = self._folder.keys if self._folder is not None else self._keys
        self._tokens = Tokens(
            keys or [await stored.signing_key(new_key())],
            issuer=self._options.issuer,
            sign_after=self._options.sign_after,
            now=self.clock.time(),
        )
        return self._tokens

    async def follow(self) -> None:
        """Follow the folder of keys, until cancelled. Without one, return."""
        if self._folder is not None:
            await self._folder.follow(self.clock, self._replace)

    async def reload(self) -> list[str]:
        """Read the folder of keys again; return what was loaded."""
        return [] if self._folder is None else await self._folder.reload(self._replace)

    @property
    def section(self) -> Section:
        """The section of the settings file that can change while the service runs."""
        return Section(("experience", "tokens", "keys"), self._prepare)

    async def _prepare(self, options: tuple[KeyOptions, ...]) -> Apply:
        if bool(options) != bool(self._options.keys):
            raise SettingsError("experience.tokens.keys: the first key is added, and the last removed, by a restart")
        keys = [key.key() for key in options]
        return lambda: self._replace(keys)

    def _replace(self, keys: Sequence[SigningKey]) -> None:
        self._keys = keys
        if self._tokens is not None:
            self._tokens.replace_keys(keys, self.clock.time())
