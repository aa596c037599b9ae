"""Probes the systems that the settings name, all at once, each with a timeout."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import NamedTuple

from shared.errors import TrelayError
from shared.runtime.redaction import one_line, redact
from shared.runtime.tasks import started

Probe = Callable[[], Awaitable[str]]
"""Returns a few words about what answered; raises the reason if nothing did."""


class Outcome(NamedTuple):
    """The outcome of one probe."""

    what: str
    works: bool
    said: str
    """What answered, or the reason why nothing did."""

    def line(self, width: int) -> str:
        """Return the line for a terminal, with the name padded to `width`."""
        return f"{'ok    ' if self.works else 'failed'}  {self.what:<{width}}  {self.said}".rstrip()


async def outcomes(probes: Mapping[str, Probe], timeout: float) -> AsyncGenerator[Outcome, None]:
    """Yield the outcomes in the order of the probes, each as soon as it and those before it have ended."""
    tasks = [started(f"probe {what}", _outcome(what, probe, timeout)) for what, probe in probes.items()]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome(what: str, probe: Probe, timeout: float) -> Outcome:
    try:
        async with asyncio.timeout(timeout):
            return Outcome(what, works=True, said=await probe())
    except TimeoutError:
        said = f"no answer within {timeout:g} s"
    except TrelayError as exc:
        said = str(exc)
    except Exception as exc:  # noqa: BLE001 -- an unexpected failure of one probe must not hide the others
        said = f"{type(exc).__name__}: {exc}"
    return Outcome(what, works=False, said=one_line(redact(said)))
