"""Attributes that SDKs of CloudEvents were asked about: name and value, each in an event that is good otherwise."""

from typing import Any

GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/s",
    "type": "t",
    "time": "2026-01-31T12:00:00Z",
    "data": {},
}

_VALUES: dict[str, list[Any]] = {
    "time": [
        "yesterday", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00:00Z", "2026-01-31t12:00:00z",
        "2026-01-31 12:00:00Z", "2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00+02:00",
        "2026-01-31T12:00:00+0200", "2026-01-31T12:00:00-23:59", "2026-01-31T12:00:00+24:00", "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:00Z", "2026-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z", "2026-01-31T12:00Z", "20260131T120000Z", "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00,5Z", "2026-W05-1T12:00:00Z", "2026-01-31T12:00:00.1Z", " 2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z\n", "", "\uff12026-01-31T12:00:00Z", 5, None, True, "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00", "2026-01-31T12:00:00-00:00", "2026-01-31T12:60:00Z",
    ],
    "dataschema": [
        "not a uri", "http://x/y", "x y", "/rel", "", "urn:x:y", "http://", "http:", "mailto:a@b", "http://[::1]/x",
        "http://[::1", "http://x/%zz", "http://x/%20", "HTTP://X", "a:b", "1a:b", "http://ü/x", "http://x/ü",
        "http://x?q#f", "http://x/y#a#b", "tag:x,2020:y", "http://u:p@h:80/p;a=b?c=d", "a:", "a:?q", "a:/", "a://",
        "http://x:port/", "file:///x", "http://[v1.a]/", "x:[", 5, None, "http://x/a b", 'http://x/"q"',
        "http://x/{id}", "http://x/|", "http://x/a'b", "http://[1:2:3:4:5:6:7:8]/", "http://[12345::]/",
        "http://999.1.1.1/", "http:///x",
    ],
    "source": [
        "/s", "", "s", "a b", "/sources/ü", "http://x", "#f", "?q", "urn:uuid:1", "/sources/a.b_c-d", "//h/x", "%zz",
        "[x]", "1:2", ":x", "a:b:c", "x\ty", "/a//b", "http://x:80:80/", "1-555-123-4567", '/"x"', "a\\b", 5, None,
    ],
    "subject": ["", "x", "a\nb", "\0", "😀", 5, None, "x" * 3000],
    "type": ["", "t", None, 5],
    "id": ["", None, 5, "x"],
    "datacontenttype": ["", "application/json", "text/xml", "json", None, 5],
    "specversion": ["1.0", "0.3", "", 1, None],
    "ext": ["", "x", 5, -5, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53, 1.5, True, None, [], {}, 1e3],
    "data_base64": ["AAAA", "x", "", 5],
    "schemaurl": ["http://x"],
    "datacontentencoding": ["base64", "x"],
    **{name: ["x"] for name in ("validate", "emit", "constructor", "tostring", "Ext", "a_b", "", "x" * 21, "x" * 65)},
}  # fmt: skip

CASES = [(name, value) for name, values in _VALUES.items() for value in values]


def event(name: str, value: Any) -> dict[str, Any]:
    """Return the event of one case."""
    found = {**GOOD, name: value}
    if name == "data_base64":
        del found["data"]
    return found
