"""`- call: {url: "https://fraud.example/score", into: data.score}`: sends a request for each event."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import ClassVar

from services.process_api.pipeline.draft import Draft, traceparent_of
from services.process_api.pipeline.paths import parse, put
from services.process_api.pipeline.steps.call.circuit import Circuit
from services.process_api.pipeline.steps.call.options import CallSettings
from services.process_api.pipeline.steps.call.url_template import UrlTemplate, expressions_of
from services.process_api.pipeline.steps.client import BudgetSpent, LazyClient, json_body
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import AnyStep, Example, StepOptions
from shared.errors import Malformed, SettingsError, TrelayError, Unavailable
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from shared.expression.nodes import Raw
from shared.http.client.client import Request, Response
from shared.http.client.failures import shown
from shared.runtime.retry import retrying
from shared.runtime.tasks import together

_WITHOUT_BODY = {"GET", "DELETE"}


class CallOptions(StepOptions):
    """Sends an HTTP request for each event, and adds the answer to it."""

    kind: ClassVar = "call"
    example: ClassVar = Example(
        """call: {url: "https://fraud.example/score", body: '{"amount": amount}', into: data.score, response: score}""",
        [({"data": {"amount": 120}}, [{"data": {"amount": 120, "score": 0.2}}])],
        response={"score": 0.2},
    )

    call: CallSettings
    """The request. It is sent at least once: after a crash, or while the partition waits, the same event is sent again,
    with the same `Idempotency-Key`, a UUID made of the event's source and id, the pipeline and the step. The replay of
    an event that an operator has edited is another request, with a key of its own. Addresses inside the network have to
    be allowed (`network`)."""

    def expressions(self) -> list[str]:
        return [*expressions_of(self.call.url), *([self.call.body] if self.call.body else [])]

    def build(self, context: StepContext) -> AnyStep:
        return Call(self.call, context)


class Call:
    def __init__(self, settings: CallSettings, context: StepContext) -> None:
        self._settings = settings
        self._context = context
        self._client = LazyClient(settings.url, settings, context, settings.max_concurrent)
        self._circuit = Circuit(settings.circuit)
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._url = UrlTemplate(settings.url)
        self._body = None if settings.body is None else Expression(settings.body)
        self._into = None if settings.into is None else parse(settings.into)
        self._response = None if settings.response is None else Expression(settings.response)

    async def apply_batch(
        self, drafts: Sequence[Draft], scope: Scope
    ) -> Sequence[Sequence[Draft] | Malformed | Unavailable]:
        outcomes: list[Sequence[Draft] | Malformed | Unavailable] = [()] * len(drafts)
        subjects: dict[object, list[int]] = {}
        for number, draft in enumerate(drafts):
            subjects.setdefault(_subject(draft), []).append(number)

        async def run(numbers: Sequence[int]) -> None:
            """Send the requests of one subject; where one of them has to wait, those behind it wait as well."""
            held: Unavailable | None = None
            for number in numbers:
                outcome = await self._outcome(drafts[number]) if held is None else held
                outcomes[number] = outcome
                held = outcome if isinstance(outcome, Unavailable) else None

        await together(*(run(numbers) for numbers in subjects.values()))
        scope.turns.waited()
        return outcomes

    async def _outcome(self, draft: Draft) -> Sequence[Draft] | Malformed | Unavailable:
        try:
            request = self._request(draft)
            with self._context.following([traceparent_of(draft)]):
                answer = await self._answer(request)
            if self._into is not None and answer is not None:
                put(draft, self._into, Raw(answer))
        except BudgetSpent as exc:
            return exc  # the API is not the reason, and has its turn later
        except Unavailable as exc:
            return Malformed(str(exc)) if self._settings.on_error == "dead_letter" else exc
        except TrelayError as exc:
            return exc if isinstance(exc, Malformed) else Malformed(str(exc))
        except Exception as exc:  # noqa: BLE001 -- raised, it would send the requests of the other events again
            return Malformed(f"{type(exc).__name__}: {exc}")
        return (draft,)

    async def _answer(self, request: Request) -> bytes | None:
        """Return what is set as JSON text; None for nothing."""
        try:
            async with self._slots:
                response = await self._send(request)
            if self._into is None:
                return None
            body = json_body(response, request.method, "answer")
            return body if self._response is None else self._response.value(JsonDocument(body))
        except TrelayError as exc:
            if self._settings.on_error != "default" or isinstance(exc, BudgetSpent):
                raise
            return json.dumps(self._settings.default).encode()

    async def _send(self, request: Request) -> Response:
        clock = self._context.clock
        async for attempt in retrying(self._settings.retry, clock=clock, rng=self._context.rng):
            with attempt:
                if (wait := self._circuit.wait(clock.monotonic())) > 0:
                    name = f"{request.method} {shown(request.url, None)}"
                    raise Unavailable(f"{name}: the circuit is open for another {wait:.0f} s")
                return await self._sent(request)
        raise AssertionError("the last attempt returns or raises")

    async def _sent(self, request: Request) -> Response:
        try:
            response = await self._client.request(request)
        except BudgetSpent:
            raise
        except (Unavailable, SettingsError) as exc:
            self._circuit.failed(self._context.clock.monotonic())
            # Settings can be corrected while the service runs: no event is lost to them.
            raise exc if isinstance(exc, Unavailable) else Unavailable(str(exc)) from exc
        except TrelayError:
            self._circuit.succeeded()
            raise
        self._circuit.succeeded()
        return response

    def _request(self, draft: Draft) -> Request:
        settings = self._settings
        headers = {"Idempotency-Key": self._idempotency_key(draft)}
        body: bytes | None = None
        if self._body is not None or settings.method not in _WITHOUT_BODY:
            body = draft.data_text() if self._body is None else self._body.value(draft)
            headers["Content-Type"] = "application/json"
        return Request(settings.method, self._url.url(draft), headers, body)

    def _idempotency_key(self, draft: Draft) -> str:
        parts = [draft.attribute("source"), draft.attribute("id"), self._context.pipeline, self._context.place]
        if draft.edited:  # servers refuse a key that comes with another body
            parts.append(draft.edited)
        return str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(parts)))


def _subject(draft: Draft) -> object:
    try:
        return draft.attribute("subject") or draft
    except Malformed:
        return draft
