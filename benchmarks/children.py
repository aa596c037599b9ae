"""Other processes of a measurement, spoken to in lines."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class Child:
    """A process that answers each line with one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, line: str) -> int:
        """Send a line; return the number it is answered with."""
        self.tell(line)
        return self.hear()

    def tell(self, line: str) -> None:
        """Send a line, and do something else meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> int:
        """Return the next number."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} has ended: see its errors above")
        return int(line)


@contextmanager
def child(*command: str) -> Iterator[Child]:
    """Run a process for as long as the context lasts."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Child(process)
        finally:
            process.kill()
