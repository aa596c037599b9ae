import pytest

from shared.settings.suggestions import unknown_key

KNOWN = ["batch", "csv", "max_pages", "mode", "secrets"]
BELOW = ["csv.delimiter", "csv.header", "drop.after", "text.after", "fixed.after", "xml.after", "zip.mode"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("secret", "did you mean 'secrets'?"),
        ("pages", "did you mean 'max_pages'?"),
        ("delimiter", "did you mean 'csv.delimiter'?"),
        ("after", "did you mean 'drop.after' or 'text.after' or 'fixed.after'?"),
        ("path", "known here: batch, csv, max_pages, mode, secrets"),
    ],
)
def test_the_key_that_was_meant_is_named(name: str, hint: str) -> None:
    assert unknown_key(name, KNOWN, BELOW) == f"unknown key {name!r}; {hint}"


def test_a_typing_error_is_likelier_than_another_mapping() -> None:
    assert unknown_key("header", ["headers"], BELOW) == "unknown key 'header'; did you mean 'headers'?"


def test_where_no_key_is_known_none_is_suggested() -> None:
    assert unknown_key("x" * 99, []) == f"unknown key '{'x' * 60}'"
