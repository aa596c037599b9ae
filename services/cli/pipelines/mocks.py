"""Answers of other systems that a file of examples gives: which look-up gets which. Sans-I/O."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from services.process_api.pipeline.steps.context import Found
from shared.errors import Malformed, Unavailable
from shared.events import strict_json
from shared.expression.document import JsonDocument
from shared.expression.expression import Condition
from shared.expression.settings import ValueExpressionText
from shared.http.client.client import Request, Response
from shared.http.client.failures import shown
from shared.settings import Options

_OK, _NOT_FOUND = 200, 404
_OUTCOMES = ("missing", "timeout", "error")


class Answer(Options):
    """One answer: `value` (null where it is not set), or what happens instead."""

    value: JsonValue = None
    """Of a key: what is found for it, which is a row, or what `response` gives. Of a request: the body, as JSON."""

    missing: Literal[True] | None = None
    """Nothing is found; of a request: the status 404."""

    timeout: Literal[True] | None = None
    """The other system does not answer in time."""

    error: Annotated[str, Field(min_length=1)] | None = None
    """The other system cannot be reached; the text says why."""

    status: Annotated[int, Field(ge=200, le=599)] = _OK
    """The status of a response; for requests only."""

    text: str | None = None
    """The body of a response that is not JSON; for requests only."""

    headers: dict[str, str] = Field(default_factory=dict)
    """The headers of a response, such as `Retry-After`; for requests only."""

    @model_validator(mode="after")
    def _one_outcome(self) -> Self:
        given = [name for name in (*_OUTCOMES, "value", "text") if name in self.model_fields_set]
        if len(given) > 1:
            raise ValueError(f"found {' and '.join(given)}; expected one of them")
        return self

    @property
    def of_requests(self) -> bool:
        """Whether only a request can be answered like this."""
        return not self.model_fields_set.isdisjoint({"status", "text", "headers"})


class Mock(Options):
    """What the look-ups get that are described here."""

    step: Annotated[str, Field(min_length=1)] | None = None
    """The place of the step, such as `steps.2.enrich`, or its kind: `enrich` or `call`. By default any step."""

    key: str | bool | int | float | None = None
    """The key of an `enrich` step; by default any key."""

    method: Annotated[str, Field(min_length=1)] | None = None
    """The method of the request."""

    url: Annotated[str, Field(min_length=1)] | None = None
    """The URL of the request; `*` stands for any characters."""

    body: ValueExpressionText | None = None
    """A JSONata condition over the body of the request, such as `amount > 100`."""

    answers: Annotated[list[Answer], Field(min_length=1)]
    """The answers in turn; the last one is repeated."""

    @model_validator(mode="after")
    def _key_or_request(self) -> Self:
        if self.key is not None:
            if self.of_requests:
                raise ValueError("found `key` beside a request; expected `key`, or `method`, `url` and `body`")
            if any(answer.of_requests for answer in self.answers):
                raise ValueError("found `status`, `text` or `headers` beside `key`; expected `url` in the place of it")
        return self

    @property
    def of_requests(self) -> bool:
        """Whether it describes requests."""
        return any(each is not None for each in (self.method, self.url, self.body))


class Mocks:
    """The answers of one example. It notes what is asked without an answer, and which answers are not used."""

    def __init__(
        self, own: Sequence[Mock], shared: Sequence[Mock] = (), *, live: bool = False, only_reads: bool = False
    ) -> None:
        """Those of the example come before those that all examples of the file share; the first that fits answers.

        `live` permits to ask the other systems for the rest; with `only_reads`, by queries and GET requests alone.
        """
        self.live = live
        self._only_reads = only_reads
        self.unanswered: list[str] = []
        """The look-ups for which there is no answer, each with its step."""
        self._turns = [_Turns(mock) for mock in (*own, *shared)]
        self._own = len(own)

    @property
    def left(self) -> int:
        """How many answers are left of the mocks that have given one: so often may another attempt differ."""
        return sum(turns.left for turns in self._turns if turns.given)

    def unused(self) -> list[str]:
        """Return the places of the example's own mocks that answered nothing."""
        return [f"mocks.{number}" for number, turns in enumerate(self._turns[: self._own]) if not turns.given]

    def of_key(self, place: str, key: str) -> Found | None:
        """See `Answers.of_key`."""
        turns = self._first(place, lambda turns: turns.fits_key(key))
        if turns is None:
            return None
        answer = turns.next()
        if answer.timeout:
            raise Unavailable(f"the look-up of {key!r} gets no answer in time")
        if answer.error is not None:
            raise Unavailable(f"the look-up of {key!r} fails: {answer.error}")
        return Found(None if answer.missing else _json(answer.value))

    def of_request(self, place: str, request: Request) -> Response | None:
        """See `Answers.of_request`."""
        turns = self._first(place, lambda turns: turns.fits_request(request))
        if turns is None:
            writes = self._only_reads and request.method != "GET"
            self._refuse(
                place, f"{request.method} {shown(request.url, None)}", "expected a mock with this `url`", writes=writes
            )
            return None
        answer = turns.next()
        if answer.timeout:
            raise TimeoutError
        if answer.error is not None:
            raise OSError(answer.error)
        status = _NOT_FOUND if answer.missing else answer.status
        body = _json(answer.value) if answer.text is None else answer.text.encode()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(request.url, status, headers, (), body)

    def check_query(self, place: str, key: str) -> None:
        """See `Answers.check_query`."""
        self._refuse(place, f"the key {key!r}", "expected a mock with this `key`")

    def _first(self, place: str, fits: "Callable[[_Turns], bool]") -> "_Turns | None":
        return next((turns for turns in self._turns if turns.of_step(place) and fits(turns)), None)

    def _refuse(self, place: str, what: str, expected: str, *, writes: bool = False) -> None:
        if self.live and not writes:
            return
        text = f"{place}: {what} has no answer; {expected}{'' if writes else ', or `--live`'}"
        self.unanswered.append(text)
        raise Unavailable(text)


class _Turns:
    """The answers of one mock, in turn."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock
        self._key = None if mock.key is None else str(_json(mock.key), "utf-8").strip('"')
        self._url = None if mock.url is None else re.compile(re.escape(mock.url).replace(r"\*", ".*"), re.DOTALL)
        self._body = None if mock.body is None else Condition(mock.body)
        self.given = 0

    @property
    def left(self) -> int:
        return max(0, len(self._mock.answers) - self.given)

    def next(self) -> Answer:
        answer = self._mock.answers[min(self.given, len(self._mock.answers) - 1)]
        self.given += 1
        return answer

    def of_step(self, place: str) -> bool:
        return self._mock.step in {None, place, place.rpartition(".")[2]}

    def fits_key(self, key: str) -> bool:
        if self._mock.of_requests or any(answer.of_requests for answer in self._mock.answers):
            return False
        return self._key in {None, key}

    def fits_request(self, request: Request) -> bool:
        if self._key is not None or self._mock.method not in {None, request.method}:
            return False
        if self._url is not None and not self._url.fullmatch(str(request.url)):
            return False
        return self._body is None or _holds(self._body, request.body)


def _holds(condition: Condition, body: bytes | None) -> bool:
    if not body:
        return False
    try:
        strict_json.check(body)
        return condition.holds(JsonDocument(body))
    except Malformed:
        return False


def _json(value: JsonValue) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")
