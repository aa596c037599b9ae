"""Why connections are closed whose claims or tokens are no longer good, or refused beside another one. Sans-I/O."""

from services.experience_api.hub import close_codes
from services.experience_api.refusals import (
    ALREADY_CONNECTED,
    CLIENT_DISABLED,
    TICKET_REFUSED,
    TOKEN_EXPIRED,
    TOKEN_REFUSED,
    Refused,
)
from services.experience_api.registry.clients import Policy
from services.experience_api.registry.notices import LossReason
from services.experience_api.registry.protocol import Held

CLAIM_CLOSE_REASONS = {
    LossReason.REPLACED: close_codes.REPLACED,
    LossReason.REMOVED: close_codes.REMOVED,
    LossReason.DISABLED: close_codes.DISABLED,
    LossReason.TAKEN_OVER: close_codes.TAKEN_OVER,
    LossReason.DISCONNECTED: close_codes.DISCONNECTED,
}
"""The close reason for each loss of a claim."""

REFUSED_CLOSE_REASONS = {
    TOKEN_REFUSED: close_codes.TOKEN_REFUSED,
    TOKEN_EXPIRED: close_codes.TOKEN_EXPIRED,
    TICKET_REFUSED: close_codes.TOKEN_REFUSED,
    CLIENT_DISABLED: close_codes.DISABLED,
}
"""The close reason for each refusal of a token."""

_RETRY_AFTER = {Policy.PROBE: 2.0, Policy.REJECT: 30.0, Policy.REPLACE: 1.0}
"""Seconds. Under `REJECT`, a connection that is dead is found out by its own heartbeat, which takes about as long."""


def already_connected(held: Held) -> Refused:
    """Return the refusal of a connection beside another one of its client, which says since when that one is there."""
    since = "" if held.since is None else f", since {held.since.isoformat(timespec='seconds')}"
    remote = f", from {held.remote}" if held.remote else ""
    title = ALREADY_CONNECTED.title
    if held.max_connections > 1:
        title = f"The client has {1 + len(held.others)} connections of at most {held.max_connections}, the oldest"
    detail = f"{title}{since}{remote}; the policy of the client is {held.policy.value!r}"
    return Refused(ALREADY_CONNECTED, detail, retry_after=_RETRY_AFTER[held.policy])
