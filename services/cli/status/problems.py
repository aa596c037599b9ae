"""What is wrong in a deployment, each with the alert whose runbook tells what to do. No I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_CERTIFICATE_SECONDS = 14 * 86_400
_SLOT_LAG_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem."""

    alert: str
    """The name of the alert that fires when it lasts."""
    place: str
    text: str


_OF_STATES = {
    "down": "TrelaySourceDown",
    "retrying": "TrelaySourceDown",
    "degraded": "TrelaySourceDegraded",
    "blocked": "TrelayPartDisconnected",
}

_OF_PARTS = {"settings_file": "TrelaySettingsNotUsed"}
"""Parts of `/readyz` that have an alert of their own."""


def of_replica(replica: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with a replica. What is wrong with its sources is in `of_source`."""
    place = f"{replica['service'] or 'service'} {replica['url']}"
    if replica["error"] is not None:
        yield Problem("TrelayServiceMissing", place, replica["error"])
        return
    for part, reason in {**replica["missing"], **replica["notes"]}.items():
        if not part.startswith("source/"):
            alert = _OF_PARTS.get(part, "TrelayPartDisconnected")
            yield Problem(alert, f"{place} {part}", reason)
    if replica["mails_waiting"]:
        yield Problem("TrelayMailsNotSent", place, f"{replica['mails_waiting']} mails or notifications wait")
    for file, seconds in replica["certificates"].items():
        if seconds < _CERTIFICATE_SECONDS:
            yield Problem("TrelayCertificateExpires", f"{place} {file}", f"expires in {seconds / 86_400:.1f} days")


def of_source(name: str, source: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with a source. One that an operator paused has no problem."""
    state = source["state"]
    if state in _OF_STATES:
        reason = source["error"] or "; ".join(source["problems"]) or "see `trelay sources show`"
        yield Problem(_OF_STATES[state], name, f"{state}: {reason}")
    if state == "standby" and source["known_owner"] and source["owner"] is None:
        yield Problem("TrelaySourceWithoutOwner", name, "no replica runs it")
    if source["unaccounted"]:
        yield Problem("TrelayUnaccountedRows", name, f"{source['unaccounted']} rows")
    if source["slot_lag_bytes"] > _SLOT_LAG_BYTES:
        gib = source["slot_lag_bytes"] / _SLOT_LAG_BYTES
        yield Problem("TrelaySlotLag", name, f"PostgreSQL keeps {gib:.1f} GiB of its log")


def of_pipeline(name: str, pipeline: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with a pipeline: a partition of it that waits for another system."""
    for held in pipeline["held"]:
        place = f"{name} partition {held.get('partition')}"
        yield Problem("TrelayPipelineHeld", place, f"step {held.get('step')}: {held.get('error')}")
