"""`Retry-After` and rate-limit headers, as servers send them."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.client.retry_after import exhausted_for, http_date, retry_after

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("1.5", 1.5),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        ("Friday, 15-Jan-27 08:01:00 GMT", 60),  # RFC 850
        ("Fri Jan 15 08:02:00 2027", 120),  # asctime
        ("Fri, 15 Jan 2027 09:01:00 +0100", 60),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1e3", None),
        ("Fri, 15 Jan 99999999999 08:01:00 GMT", None),
        ("Mon, 99 Foo 2027 99:99:99 GMT", None),
    ],
)
def test_seconds_and_dates(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds


def test_a_date_counts_from_the_date_of_the_response() -> None:
    headers = {"retry-after": formatdate(NOW + 5000, usegmt=True), "date": formatdate(NOW + 4940, usegmt=True)}
    assert retry_after(headers, NOW) == 60


@pytest.mark.parametrize("factor", [1, 1000])
def test_the_reset_of_a_quota_counts_from_the_date_of_the_response(factor: int) -> None:
    """The clock of this machine may be set back, or be wrong."""
    reset = str((int(NOW) + 5000) * factor)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset, "date": formatdate(NOW + 4940, usegmt=True)}
    assert exhausted_for(headers, NOW) == 60


def test_without_the_header_there_is_no_wait() -> None:
    assert retry_after({}, NOW) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 30)}, 30),  # GitHub: seconds since 1970
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str((int(NOW) + 30) * 1000)}, 30),  # milliseconds
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(int(NOW) - 5)}, 0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "7"}, 7),  # draft 02
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50),  # draft 06
        ({"ratelimit": '"default";r=0;t=30'}, 30),  # draft 10
        ({"ratelimit": '"burst";r=0;t=1, "day";r=100;t=3600'}, 1),
        ({"ratelimit": '"default";r=5;t=30'}, None),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "12"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-remaining": "none", "x-ratelimit-reset": "12"}, None),
        ({}, None),
    ],
)
def test_quotas(headers: dict[str, str], seconds: float | None) -> None:
    assert exhausted_for(headers, NOW) == seconds


@given(st.text(max_size=60), st.text(max_size=40), st.floats(0, 4e9))
def test_any_value_is_read_or_ignored(value: str, date: str, now: float) -> None:
    found = retry_after({"retry-after": value, "date": date}, now)
    assert found is None or found >= 0
    quota = {"ratelimit": value, "x-ratelimit-remaining": "0", "x-ratelimit-reset": date}
    assert (exhausted_for(quota, now) or 0) >= 0


@given(st.integers(0, 2**53))
def test_seconds_are_themselves(seconds: int) -> None:
    assert retry_after({"retry-after": str(seconds)}, NOW) == seconds


@given(st.integers(0, 4_000_000_000), st.sampled_from(["", "x"]))
def test_a_date_survives_its_form(at: int, suffix: str) -> None:
    assert http_date(formatdate(at, usegmt=True)) == at
    assert http_date(suffix) is None
