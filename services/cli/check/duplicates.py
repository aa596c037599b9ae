"""Warns of sources that read the same. No I/O."""

from collections.abc import Mapping

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
    return found
