import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from services.experience_api.auth.credentials import (
    CarriedToken,
    ClientCredentials,
    client_id,
    in_subprotocol,
    read_client,
    read_token,
)
from services.experience_api.refusals import (
    CREDENTIALS_MISSING,
    MALFORMED,
    TOKEN_MISSING,
    TOKEN_REFUSED,
    WRONG_CREDENTIALS,
    Refusal,
    Refused,
)
from shared.errors import Malformed

Lines = list[tuple[str, str]]


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def client(*lines: tuple[str, str]) -> ClientCredentials:
    return read_client(CIMultiDict(lines))


def token(*lines: tuple[str, str]) -> CarriedToken:
    return read_token(CIMultiDict(lines))


def refusal_of(lines: Lines) -> Refusal:
    with pytest.raises(Refused) as refused:
        read_client(CIMultiDict(lines))
    return refused.value.refusal


@pytest.mark.parametrize("name", ["a", "orders-eu.v2_x", "0", "x" * 64])
def test_a_client_id_is_short_and_plain(name: str) -> None:
    assert client_id(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".", "a b", "a:b", "é", "x" * 65, "a\n", "a\0"])
def test_any_other_client_id_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="client id"):
        client_id(name)


def test_a_client_is_read_from_two_headers() -> None:
    assert client(("client_id", "demo"), ("client_secret", "s3cret")) == ClientCredentials("demo", "s3cret")


def test_a_client_is_read_from_basic() -> None:
    assert client(("authorization", basic("demo:a:b é"))) == ClientCredentials("demo", "a:b é")
    assert client(("authorization", basic("demo:x").replace("Basic", "bASIC"))) == ClientCredentials("demo", "x")


def test_equal_credentials_in_both_forms_are_accepted() -> None:
    both = client(("client_id", "demo"), ("client_secret", "x"), ("authorization", basic("demo:x")))
    assert both == ClientCredentials("demo", "x")


def test_a_secret_is_not_shown() -> None:
    assert "s3cret" not in repr(ClientCredentials("demo", "s3cret"))
    assert "t0ken" not in repr(CarriedToken("t0ken", None))


@pytest.mark.parametrize(
    "lines",
    [
        [("client_id", "demo")],
        [("client_secret", "x")],
        [("client_id", "demo"), ("client_secret", "")],
        [("client_id", "demo"), ("client_secret", "a\0b")],
        [("client_id", "demo"), ("client_secret", "\udcff")],
        [("client_id", "demo"), ("client_secret", "x" * 257)],
        [("client_id", "de mo"), ("client_secret", "x")],
        [("authorization", "Basic")],
        [("authorization", "Basic !!!")],
        [("authorization", basic("demo"))],
        [("authorization", basic(b"demo:\xff"))],
        [("authorization", basic("demo:" + "x" * 2000))],
        [("authorization", "Bearer abc")],
        [("client_id", "demo"), ("client_secret", "x"), ("authorization", basic("other:x"))],
    ],
)
def test_every_invalid_credential_is_refused_alike(lines: Lines) -> None:
    assert refusal_of(lines) is WRONG_CREDENTIALS


@pytest.mark.parametrize("name", ["client_id", "client_secret", "authorization"])
def test_a_header_with_two_values_is_refused(name: str) -> None:
    lines = [("client_id", "demo"), ("client_secret", "x"), ("authorization", basic("demo:x")), (name, "else")]
    assert refusal_of(lines) is MALFORMED


@pytest.mark.parametrize(
    "lines",
    [
        [("Authorization", "Bearer a.b.c")],
        [("Authorization", "bearer  a.b.c ")],
        [("Authorization", basic("x:y")), ("Authorization", "Bearer a.b.c")],
        [("Sec-WebSocket-Protocol", "cloudevents.json, bearer.a.b.c")],
        [("Sec-WebSocket-Protocol", "cloudevents.json"), ("Sec-WebSocket-Protocol", "bearer.a.b.c")],
        [("Authorization", "Bearer a.b.c"), ("Sec-WebSocket-Protocol", "cloudevents.json, bearer.a.b.c")],
    ],
)
def test_a_token_is_read_from_each_supported_header(lines: Lines) -> None:
    assert token(*lines) == CarriedToken("a.b.c", None)


def test_the_token_header_requires_the_client_id() -> None:
    assert token(("token", "a.b.c"), ("client_id", "demo")) == CarriedToken("a.b.c", "demo")
    assert token(("Authorization", "Bearer a.b.c"), ("client_id", "demo")) == CarriedToken("a.b.c", "demo")


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ([], TOKEN_MISSING),
        ([("token", "a.b.c")], TOKEN_MISSING),
        ([("Authorization", basic("x:y"))], TOKEN_MISSING),
        ([("Sec-WebSocket-Protocol", "cloudevents.json")], TOKEN_MISSING),
        ([("Authorization", "Bearer ")], TOKEN_REFUSED),
        ([("Authorization", "Bearer a b")], TOKEN_REFUSED),
        ([("Authorization", "Bearer é")], TOKEN_REFUSED),
        ([("Authorization", "Bearer " + "x" * 1025)], TOKEN_REFUSED),
        ([("Authorization", "Bearer a"), ("token", "b"), ("client_id", "demo")], TOKEN_REFUSED),
        ([("Sec-WebSocket-Protocol", "cloudevents.json, bearer.a, bearer.b")], TOKEN_REFUSED),
        ([("Sec-WebSocket-Protocol", "bearer.a")], MALFORMED),
        ([("Sec-WebSocket-Protocol", "bearer.a"), ("Sec-WebSocket-Protocol", "cloudevents.json")], MALFORMED),
        ([("Sec-WebSocket-Protocol", "graphql-ws"), ("Authorization", "Bearer a")], MALFORMED),
        ([("Sec-WebSocket-Protocol", "a," * 40)], MALFORMED),
        ([("client_id", "a"), ("client_id", "b"), ("token", "x")], MALFORMED),
    ],
)
def test_a_token_that_is_missing_or_ambiguous_is_refused(lines: Lines, refusal: Refusal) -> None:
    with pytest.raises(Refused) as refused:
        read_token(CIMultiDict(lines))
    assert refused.value.refusal is refusal


_names = st.sampled_from(["client_id", "client_secret", "Authorization", "token", "Sec-WebSocket-Protocol", "x"])
_text = st.text(st.characters(), max_size=40)
_values = st.one_of(
    _text,
    _text.map(lambda text: f"Basic {text}"),
    st.binary(max_size=40).map(basic),
    _text.map(lambda text: f"Bearer {text}"),
    _text.map(lambda text: f"cloudevents.json, bearer.{text}"),
    st.sampled_from(["demo", "a.b.c", "cloudevents.json"]),
)


@given(st.lists(st.tuples(_names, _values), max_size=6))
def test_hostile_headers_are_read_or_refused(lines: Lines) -> None:
    headers = CIMultiDict(lines)
    with contextlib.suppress(Refused):  # any other exception fails the test
        assert read_client(headers).secret.isprintable()
    with contextlib.suppress(Refused):
        read_token(headers).token.encode("ascii")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([("Sec-WebSocket-Protocol", "cloudevents.json, bearer.a.b.c")], True),
        ([("Sec-WebSocket-Protocol", "bearer.a.b.c,cloudevents.json")], True),
        ([("Sec-WebSocket-Protocol", "cloudevents.json"), ("Sec-WebSocket-Protocol", "bearer.a.b.c")], True),
        ([("Sec-WebSocket-Protocol", "bearer.a.b.c")], False),
        ([("Sec-WebSocket-Protocol", "cloudevents.json, bearer.")], False),
        ([("Sec-WebSocket-Protocol", "cloudevents.json, bearer.\x80")], False),
        ([("Sec-WebSocket-Protocol", "cloudevents.json"), ("Authorization", "Bearer a.b.c")], False),
        ([("Authorization", "Bearer a.b.c")], False),
        ([], False),
    ],
)
def test_it_is_known_whether_a_browser_sends_the_token(lines: Lines, expected: bool) -> None:
    assert in_subprotocol(CIMultiDict(lines)) is expected


def test_a_request_without_any_credentials_says_what_may_have_removed_them() -> None:
    with pytest.raises(Refused) as refused:
        read_client(CIMultiDict())
    assert refused.value.refusal is CREDENTIALS_MISSING
    assert "nginx drop headers with an underscore" in refused.value.detail


def test_header_names_without_an_underscore_are_read_as_well() -> None:
    found = read_client(CIMultiDict({"Client-Id": "demo", "Client-Secret": "x"}))
    assert (found.client_id, found.secret) == ("demo", "x")
    assert read_token(CIMultiDict({"token": "abc", "Client-Id": "demo"})).client_id == "demo"
    with pytest.raises(Refused):
        read_client(CIMultiDict([("Client-Id", "demo"), ("client_id", "other"), ("Client-Secret", "x")]))
