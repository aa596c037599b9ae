"""A URL with expressions in it: `https://api.example/orders/{id}`. Sans-I/O."""

import re
from urllib.parse import quote, urlsplit

from yarl import URL

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.lookup.keys import key_of, url_of
from shared.errors import Malformed
from shared.expression.expression import Expression

_PART = re.compile(r"\{([^{}]*)\}")


def expressions_of(written: str) -> list[str]:
    """Return the expressions of a template.

    Raises:
        ValueError: one is in the scheme or the host, the braces are not in pairs, or there is no host.
    """
    host = urlsplit(_PART.sub("x", written)).netloc
    if not host:
        raise ValueError(f"found {written[:80]!r}; expected an absolute URL, such as https://api.example/orders/{{id}}")
    if "{" in written.partition(host)[0] or "{" in written[: written.find(host) + len(host)] or host not in written:
        raise ValueError("found an expression in the host; expected it in the path or the query")
    if re.search(r"[{}]", _PART.sub("", written)):
        raise ValueError("found a brace without its pair; expected {expression}")
    return _PART.findall(written)


class UrlTemplate:
    """A URL for each event."""

    def __init__(self, written: str) -> None:
        self._constants = _PART.split(written)[::2]
        self._expressions = [(text, Expression(text)) for text in _PART.findall(written)]

    def url(self, draft: Draft) -> URL:
        """Return the URL for an event; each value is percent-encoded.

        Raises:
            Malformed: an expression fails, is undefined, or gives `.` or `..` for a segment of the path.
        """
        made = self._constants[0]
        for (text, expression), constant in zip(self._expressions, self._constants[1:], strict=True):
            key = key_of(expression.value(draft))
            if key is None:
                raise Malformed(f"url: {text} is undefined or empty for this event")
            made += quote(key.name, safe="") + constant
        return url_of(made)
