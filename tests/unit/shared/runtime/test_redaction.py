import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.redaction import one_line, redact, redact_field
from tests.unit.cpu_time import least_cpu_time

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZW1vIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"got {JWT} from demo", "got *** from demo"),
        (f"/ws/publish?ticket={JWT}&channels=a", "/ws/publish?ticket=***&channels=a"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("sent Bearer abc.def== on", "sent Bearer *** on"),
        ("Basic ZGVtbzpkZW1v", "Basic ***"),
        ("{'client_secret': 'hunter2', 'client_id': 'demo'}", "{'client_secret': '***', 'client_id': 'demo'}"),
        ('{"password":"hunter2"}', '{"password":"***"}'),
        ('password="two words" PORT=1', 'password="***" PORT=1'),
        ('{"password": "a,\\"b", "n": 1}', '{"password": "***", "n": 1}'),
        ("{'client_secret': 'it\\'s, long', 'n': 1}", "{'client_secret': '***', 'n': 1}"),
        ('password="not closed', 'password="*** closed'),
        ("Authorization: Digest abc", "Authorization: ***"),
        ("DB_PASSWORD=hunter2 PORT=1", "DB_PASSWORD=*** PORT=1"),
        ("client-secret: hunter2", "client-secret: ***"),
        ("postgresql://trelay:hunter2@db:5432/x", "postgresql://trelay:***@db:5432/x"),
        ("postgresql://trelay:a@b:c@db/x", "postgresql://trelay:***@db/x"),
        ("redis://:hunter2@cache", "redis://:***@cache"),
        ("http://host:8080/path", "http://host:8080/path"),
        ("the token of demo was refused", "the token of demo was refused"),
    ],
)
def test_secrets_are_redacted_and_nothing_else(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("token", "abc", "***"),
        ("client_secret", "abc", "***"),
        ("db_password", {"a": 1}, "***"),
        ("url", "x://u:p@h", "x://u:***@h"),
        ("client_id", "demo", "demo"),
        ("rows", 12, 12),
        ("nothing", None, None),
        ("headers", {"Authorization": "Basic abc", "Host": "x"}, {"Authorization": "***", "Host": "x"}),
        ("urls", ("x://u:p@h", "y"), ["x://u:***@h", "y"]),
        ("error", ValueError("password=abc"), "password=***"),
    ],
)
def test_a_field_is_shown_whole_in_part_or_not_at_all(name: str, value: object, expected: object) -> None:
    assert redact_field(name, value) == expected


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ",
        "eyJ-",
        "token",
        "token ",
        "token:",
        "://",
        "://a:",
        "a",
        "a@",
        "Bearer ",
        "eyJa.",
        '"',
        "\\",
        "secret=eyJ.",
        'token="',
        'token="\\',
        "token='",
    ],
)
def test_takes_linear_time_on_hostile_text(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    # A quadratic form would take minutes here.
    assert least_cpu_time(lambda: redact(text)) < 5


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    escaped = one_line(text)
    assert len(escaped.splitlines()) <= 1
    assert "\x1b" not in escaped
