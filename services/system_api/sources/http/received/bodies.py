"""The JSON in a body: JSON itself, or a form. No I/O."""

from urllib.parse import parse_qsl

import msgspec

from shared.errors import Malformed

FORM = "application/x-www-form-urlencoded"
_BOM = b"\xef\xbb\xbf"
_FIELDS = 10_000


def json_body(content_type: str, body: bytes, form_field: str) -> bytes:
    """Return the JSON text of a body, which is not checked.

    A form gives its field `form_field`, or an object of all its fields where it has none of that name; a field that is
    repeated gives a list.

    Raises:
        Malformed: the form is not one.
    """
    if content_type.partition(";")[0].strip().lower() != FORM:
        return body.removeprefix(_BOM)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError as exc:
        raise Malformed(f"the form cannot be read: {exc}") from exc
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    if form_field in fields:
        return fields[form_field][0].encode()
    return msgspec.json.encode({name: found[0] if len(found) == 1 else found for name, found in fields.items()})
