"""Programs of a deployment: real processes, started, killed and asked whether they are ready."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from services.standalone.embedded.process import dying_with_us
from shared.runtime.failpoints import VARIABLE

_POLL = 0.02


@dataclass
class Program:
    """One process of Trelay."""

    name: str
    arguments: list[str]
    """Behind `python`."""
    ready_url: str
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id while it runs."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def start(self, failpoint: str | None = None) -> None:
        """Start it; with a failpoint, it kills itself when it gets there."""
        environment = {**os.environ, **self.environment}
        if failpoint is not None:
            environment[VARIABLE] = failpoint
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_us([sys.executable, *self.arguments], signal.SIGTERM),
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL it and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def status(self) -> int | None:
        """Its exit status once it has ended; None while it runs."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.poll()

    def pause(self) -> None:
        """SIGSTOP it: its connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    async def stop(self, timeout: float = 120.0) -> int:
        """Ask it to stop and return its exit status.

        Raises:
            AssertionError: it still runs; with the end of its log.
        """
        assert self._process is not None, f"{self.name} was not started"
        self._process.terminate()
        try:
            return await self.ended(timeout)
        except TimeoutError:
            raise AssertionError(f"{self.name} still runs after {timeout} s\n{self.tail()}") from None

    async def ended(self, timeout: float) -> int:
        """Wait for its end and return its exit status.

        Raises:
            TimeoutError: it still runs.
        """
        assert self._process is not None, f"{self.name} was not started"
        async with asyncio.timeout(timeout):
            while (status := self._process.poll()) is None:
                await asyncio.sleep(_POLL)
        return status

    async def ready(self, timeout: float = 240.0) -> None:
        """Wait until `/readyz` responds with 200.

        Raises:
            AssertionError: it ended, or is not ready in time; the text has its last response and the end of its log.
        """
        answer = "nothing yet"
        try:
            async with asyncio.timeout(timeout):
                while (asked := await asyncio.to_thread(_ask, self.ready_url))[0] is not True:
                    answer = asked[1]
                    assert self._process is not None
                    assert self._process.poll() is None, (
                        f"{self.name} ended with {self._process.poll()}:\n{self.tail()}"
                    )
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise AssertionError(f"{self.name} is not ready after {timeout} s: {answer}\n{self.tail()}") from None

    def tail(self, lines: int = 60) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _ask(url: str) -> tuple[bool, str]:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(json.load(answer)["ready"]), "ready"
    except urllib.error.HTTPError as exc:
        return False, exc.read().decode(errors="replace")
    except OSError as exc:
        return False, str(exc)
