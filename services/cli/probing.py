"""Asking what the settings name whether it answers: all at once, each within a bound."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import NamedTuple

from shared.errors import TrelayError
from shared.runtime.redaction import one_line, redact
from shared.runtime.tasks import started

Probe = Callable[[], Awaitable[str]]
"""Returns what answered, in a few words; raises what keeps it from that."""


class Outcome(NamedTuple):
    """What came of one probe."""

    what: str
    works: bool
    said: str
    """What answered, or why nothing did."""

    def line(self, width: int) -> str:
        """Return it for a terminal, the name padded to `width`."""
        return f"{'ok    ' if self.works else 'failed'}  {self.what:<{width}}  {self.said}".rstrip()


async def outcomes(probes: Mapping[str, Probe], within: float) -> AsyncGenerator[Outcome, None]:
    """Yield what comes of the probes in their order, each as soon as it and those before it have ended."""
    tasks = [started(f"probe {what}", _outcome(what, probe, within)) for what, probe in probes.items()]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome(what: str, probe: Probe, within: float) -> Outcome:
    try:
        async with asyncio.timeout(within):
            return Outcome(what, works=True, said=await probe())
    except TimeoutError:
        said = f"no answer within {within:g} s"
    except TrelayError as exc:
        said = str(exc)
    except Exception as exc:  # noqa: BLE001 -- one probe that fails in its own way must not hide what the others found
        said = f"{type(exc).__name__}: {exc}"
    return Outcome(what, works=False, said=one_line(redact(said)))
