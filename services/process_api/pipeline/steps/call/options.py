"""The settings of `call`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from services.process_api.pipeline.steps.call.circuit import CircuitOptions
from services.process_api.pipeline.steps.call.url_template import expressions_of
from services.process_api.pipeline.steps.step import PathText
from shared.expression.settings import ExpressionText, ValueExpressionText, check_expression
from shared.http.client.options import RequestOptions, checked_url
from shared.runtime.retry import RetryOptions


def _template(written: str) -> str:
    for expression in expressions_of(written):
        check_expression(expression)
    return checked_url(written)


class CallSettings(RequestOptions):
    """A request, and what becomes of its answer."""

    url: Annotated[str, AfterValidator(_template), Field(min_length=1)]
    """The URL. `{…}` in its path or query holds a JSONata expression over the entity: `https://api.example/{id}`."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    """The method. No redirect is followed."""

    body: ExpressionText | None = None
    """A JSONata expression over the entity that gives the body, sent as JSON. By default the whole entity; a GET and a
    DELETE have none."""

    into: PathText | None = None
    """The path at which the answer is set, such as `data.score`. By default the answer is dropped."""

    response: ValueExpressionText | None = None
    """A JSONata expression over the answer that gives what is set. By default the whole answer, which must be JSON."""

    on_error: Literal["hold", "dead_letter", "default"] = "hold"
    """What happens after the last attempt: the partition waits, the event goes to the dead letter, or it goes on with
    `default`. An answer that no retry would change, such as 400, is never waited for: it counts as `dead_letter` where
    `hold` is set."""

    default: JsonValue = None
    """What is set at `into` where `on_error` is `default`."""

    retry: RetryOptions = RetryOptions(attempts=3, first_wait=0.1, longest_wait=2.0)
    """How often one event is tried, and the waits between. With `hold`, the event comes again after that."""

    circuit: CircuitOptions = CircuitOptions()
    """After how many failures in a row no request is sent for a while, in which `on_error` applies at once."""

    max_concurrent: int = Field(default=8, ge=1, le=100)
    """Requests at the same time, on each replica. Events of one subject are sent one after the other."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.network.check("url", self.url.partition("{")[0])
        if self.default is not None and self.on_error != "default":
            raise ValueError("default: found a value; expected one only where on_error is default")
        if self.into is None and self.response is not None:
            raise ValueError("response: found an expression; expected one only beside `into`")
        return self
