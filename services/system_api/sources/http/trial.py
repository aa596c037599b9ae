"""Tries the expressions of a source in another process before it reads: one that does not terminate stops no thread."""

import asyncio
from collections.abc import Mapping

from shared.errors import SettingsError
from shared.expression import trial
from shared.expression.plain import grammar
from shared.settings import Finding, KeyPath


def faults(path: KeyPath, expressions: Mapping[str, str]) -> list[Finding]:
    """Return what is wrong with expressions, by setting below `path`; blocks for a tenth of a second, or for seconds.

    Plain expressions always terminate.
    """
    tried = {setting: text for setting, text in expressions.items() if grammar.parse(text) is None}
    bad = trial.faults(list(tried.values()))
    return [Finding((*path, *setting.split(".")), bad[text]) for setting, text in tried.items() if text in bad]


class Trial:
    """The expressions of one source, tried once."""

    def __init__(self, place: str, expressions: Mapping[str, str]) -> None:
        self._place = place
        self._expressions = expressions
        self._passed = False

    async def check(self) -> None:
        """Try them, unless they have passed before.

        Raises:
            SettingsError: one does not terminate.
        """
        if self._passed:
            return
        found = await asyncio.to_thread(faults, (), self._expressions)
        if found:
            raise SettingsError(f"{self._place}.{'.'.join(map(str, found[0].path))}: {found[0].sentence}")
        self._passed = True
