"""What a source could not read any more. Each loss is named once; for a while it is a problem of the source, too."""

from collections.abc import Sequence

from services.system_api.sources.source import Loss

_EACH = 20
"""Losses of one look that are named one by one; of more, the rest is named together."""


class Losses:
    """The losses of a source. Times are of a monotonic clock."""

    def __init__(self, keep: float) -> None:
        """`keep` is how many seconds a loss stays a problem."""
        self._keep = keep
        self._new: list[tuple[str, Loss]] = []
        self._recent: dict[str, tuple[float, str]] = {}

    def add(self, key: str, text: str, size: int = 0) -> None:
        """Note a loss; `key` identifies the file, `size` is the number of bytes that are known to be lost."""
        self._new.append((key, Loss(text, size)))

    def over(self, key: str) -> None:
        """Note that a file is back."""
        self._recent.pop(key, None)

    def take(self, now: float) -> tuple[Loss, ...]:
        """Return the losses since the last call."""
        found, self._new = self._new, []
        each, rest = found[:_EACH], [loss for _, loss in found[_EACH:]]
        named = [loss for _, loss in each]
        if rest:
            text = f"{len(rest)} more files, from {rest[0].text} to {rest[-1].text}"
            named.append(Loss(text, sum(loss.size for loss in rest), len(rest)))
            each = [*each, (rest[0].text, named[-1])]
        self._recent |= {key: (now, loss.text) for key, loss in each}
        return tuple(named)

    def problems(self, now: float) -> Sequence[str]:
        """Return the losses that are still problems as text."""
        self._recent = {key: (at, text) for key, (at, text) in self._recent.items() if now - at <= self._keep}
        return [text for _, text in self._recent.values()]
