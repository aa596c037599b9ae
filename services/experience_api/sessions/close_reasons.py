"""Why connections are closed whose claims or tokens are no longer good."""

from services.experience_api.hub import close_codes
from services.experience_api.refusals import CLIENT_DISABLED, TICKET_REFUSED, TOKEN_EXPIRED, TOKEN_REFUSED
from services.experience_api.registry.notices import LossReason

CLAIM_CLOSE_REASONS = {
    LossReason.REPLACED: close_codes.REPLACED,
    LossReason.REMOVED: close_codes.REMOVED,
    LossReason.DISABLED: close_codes.DISABLED,
    LossReason.TAKEN_OVER: close_codes.TAKEN_OVER,
}
"""The close reason for each loss of a claim."""

REFUSED_CLOSE_REASONS = {
    TOKEN_REFUSED: close_codes.TOKEN_REFUSED,
    TOKEN_EXPIRED: close_codes.TOKEN_EXPIRED,
    TICKET_REFUSED: close_codes.TOKEN_REFUSED,
    CLIENT_DISABLED: close_codes.DISABLED,
}
"""The close reason for each refusal of a token."""
