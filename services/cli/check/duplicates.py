"""Warns of sources that read the same, or take files from each other. No I/O."""

import itertools
from collections.abc import Mapping

from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.options import After, FileSourceOptions
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.registry import AnySource
from shared.settings import Finding

_PACE = {"interval", "batch", "poll_timeout", "retry"}
"""Settings that do not change which events there are."""


def warnings(sources: Mapping[str, AnySource]) -> list[Finding]:
    """Return a warning for each source that has the settings of another one; receivers of webhooks differ by name."""
    names: dict[str, str] = {}
    found = []
    for name, options in sources.items():
        if isinstance(options, WebhookSourceOptions):
            continue
        other = names.setdefault(repr(options.model_dump(exclude=_PACE)), name)
        if other != name:
            text = (
                f"reads the same as source {other!r}, for the same channel: subscribers receive each event twice, or"
                " the two share the messages of one queue; remove one of them"
            )
            found.append(Finding(("system", "sources", name), text))
    return found + _taking(sources)


def _taking(sources: Mapping[str, AnySource]) -> list[Finding]:
    """Return a warning for each source that archives or deletes files which another one reads as well."""
    files = {name: options for name, options in sources.items() if isinstance(options, FileSourceOptions)}
    found = []
    for (name, taking), (other, reading) in itertools.permutations(files.items(), 2):
        if taking.mode == "drop" and taking.drop.after is not After.KEEP and _overlap(taking.path, reading.path):
            text = (
                f"after: {taking.drop.after} takes files away that source {other!r} reads as well ({reading.path}), and"
                " may not have read yet; give each a folder of its own, or keep the files"
            )
            found.append(Finding(("system", "sources", name, "drop"), text))
    return found


def _overlap(path: str, other: str) -> bool:
    """Whether two globs name the same files, as far as it can be told: one of them matches the other as text."""
    return path == other or Glob(path).matches(other) or Glob(other).matches(path)
