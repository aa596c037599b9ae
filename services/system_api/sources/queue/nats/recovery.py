"""How long the server gets to notice that messages are to be delivered again. No I/O.

Nothing tells when it has noticed. If it has not, it delivers newer messages first; then it gets more time.
"""

_FIRST = 0.5
"""Seconds; a server that is not busy looks 0.1 s after the change."""
_GROWTH = 3
_ATTEMPTS = 3
"""Attempts after which messages are read in any order: some may not be there any more."""


class Recovery:
    """The attempts to have the messages of earlier connections delivered again before newer ones."""

    def __init__(self) -> None:
        self._failed = 0

    @property
    def wait(self) -> float:
        """The seconds for the next attempt."""
        return _FIRST * float(_GROWTH**self._failed)

    def again(self) -> bool:
        """Note that the server has not noticed; return whether to try again."""
        self._failed += 1
        if self._failed < _ATTEMPTS:
            return True
        self._failed = 0
        return False

    def succeeded(self) -> None:
        """Note that everything was delivered again."""
        self._failed = 0
