"""What identifies files that were begun: saved before their first events where a crash may come between. No I/O."""

from collections.abc import Container, Mapping


class Begun:
    """The parts of the checkpoint of files that have no events yet, as they were when the files were begun."""

    def __init__(self) -> None:
        self._parts: dict[str, bytes] = {}

    def add(self, parts: Mapping[str, bytes]) -> None:
        """Note the parts that identify a file: its own, and that of the source."""
        self._parts |= parts

    def take(self, checkpoint: Container[str], *, events: bool) -> dict[str, bytes]:
        """Return these parts for a batch with this checkpoint if it has `events`; see `Batch.begun`.

        A part that was saved without events is not saved again as it was before.
        """
        if not events:
            self._parts = {part: value for part, value in self._parts.items() if part not in checkpoint}
            return {}
        taken, self._parts = self._parts, {}
        return taken
