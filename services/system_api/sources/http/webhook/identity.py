"""What identifies a delivery, and the challenges that are answered and not stored. No I/O.

Use it only in the thread that made it.
"""

import re
from hashlib import sha256

import msgspec
from multidict import MultiMapping

from services.system_api.sources.http.received.bodies import json_body
from services.system_api.sources.http.received.options import HeaderValue
from services.system_api.sources.http.received.values import text_value
from services.system_api.sources.http.webhook import refusals
from services.system_api.sources.http.webhook.inbox.delivery import Delivery
from services.system_api.sources.http.webhook.options import BodyDigest, NoId, WebhookSourceOptions
from services.system_api.sources.http.webhook.refusals import Refused
from services.system_api.sources.http.webhook.verify_options import SlackOptions
from shared.errors import Malformed
from shared.events import strict_json
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression

_ID = re.compile("[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")
_CHALLENGE = b"url_verification"


class _Challenge(msgspec.Struct):
    type: str
    challenge: str


class DeliveryReader:
    """Makes deliveries of the requests of one source."""

    def __init__(self, options: WebhookSourceOptions) -> None:
        self._identity = options.identity
        self._expression = Expression(self._identity) if isinstance(self._identity, str) else None
        self._headers = options.kept_headers()
        self._form_field = options.form_field
        self._challenges = isinstance(options.verify, SlackOptions)

    @property
    def evaluates(self) -> bool:
        """Whether an expression reads the body, which takes 20 ms for a megabyte."""
        return self._expression is not None

    def challenge(self, body: bytes) -> bytes | None:
        """Return the answer to a challenge of the sender, None if the body is none."""
        if not self._challenges or _CHALLENGE not in body:
            return None
        try:
            found = msgspec.json.decode(body, type=_Challenge)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return msgspec.json.encode({"challenge": found.challenge}) if found.type == "url_verification" else None

    def read(self, headers: MultiMapping[str], body: bytes) -> Delivery:
        """Return the delivery of a request.

        Raises:
            Refused: `ID_MISSING`.
        """
        content_type = headers.get("Content-Type", "")
        kept = {name: _text(headers[name]) for name in self._headers if name in headers}
        return Delivery(self._id(headers, content_type, body), body, _text(content_type)[:200], kept)

    def _id(self, headers: MultiMapping[str], content_type: str, body: bytes) -> str | None:
        match self._identity:
            case NoId():
                return None
            case BodyDigest():
                return sha256(body).hexdigest()
            case HeaderValue(header=name):
                found, place = headers.get(name), f"the header {name}"
            case _:
                found, place = self._evaluated(content_type, body), f"{self._identity} in the body"
        if not found:
            raise Refused(refusals.ID_MISSING, f"expected {place}")
        if not _ID.fullmatch(found):
            raise Refused(refusals.ID_MISSING, f"{place}: expected at most 200 characters without control characters")
        return found

    def _evaluated(self, content_type: str, body: bytes) -> str | None:
        assert self._expression is not None, "the settings name one"
        try:
            document = json_body(content_type, body, self._form_field)
            strict_json.check(document)
            found = self._expression.value(JsonDocument(document))
            return None if found is None else text_value("delivery_id", found)
        except Malformed as exc:
            raise Refused(refusals.ID_MISSING, str(exc)) from exc


def _text(header: str) -> str:
    r"""Return the text of a header; a byte that is not UTF-8 becomes `\xff`.

    The database takes no other text, and would refuse the deliveries that are stored with this one as well.
    """
    return header.encode(errors="surrogateescape").decode(errors="backslashreplace")


def read_apart(options: WebhookSourceOptions, headers: MultiMapping[str], body: bytes) -> Delivery | Refused:
    """Return what `DeliveryReader.read` returns or raises, for a thread of a pool.

    An exception would hold the expression by its traceback, and be dropped in another thread than that which made it.
    """
    try:
        return DeliveryReader(options).read(headers, body)
    except Refused as exc:
        return Refused(exc.refusal, exc.detail)
