import base64
import hashlib
import itertools
import string

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.auth.tokens import TICKET_SECONDS, TokenOptions, Tokens, new_key
from services.experience_api.refusals import TICKET_REFUSED, TOKEN_REFUSED, Refused
from services.experience_api.registry.tokens import SigningKey, TokenClaims

OLD = SigningKey("2025", b"o" * 32)
NEW = SigningKey("2026", b"n" * 64)
ALPHABET = string.ascii_letters + string.digits + "-_"


def tokens(*keys: SigningKey, issuer: str = "trelay") -> Tokens:
    counter = itertools.count(1)
    return Tokens(keys or (NEW,), issuer=issuer, new_id=lambda: f"id-{next(counter)}")


def signed(key: SigningKey, headers: dict[str, str] | None = None, claims: dict[str, object] | None = None) -> str:
    whole = {"iss": "trelay", "sub": "demo", "iat": 1, "jti": "x", **(claims or {})}
    given_claims = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(given_claims, key.secret, algorithm="HS256", headers={"kid": key.id, **(headers or {})})


def refused(reader: Tokens, token: str, client_id: str | None = None) -> bool:
    try:
        reader.read(token, client_id)
    except Refused as exc:
        return exc.refusal is TOKEN_REFUSED
    return False


def test_a_token_names_its_client_and_only_the_hash_of_its_id_is_returned() -> None:
    issuing = tokens()
    issued = issuing.issue("demo", 1_700_000_000.9)
    assert issued.claims == TokenClaims("demo", hashlib.sha256(b"id-1").digest())
    assert issuing.read(issued.token) == issued.claims
    assert issuing.read(issued.token, "demo") == issued.claims
    assert jwt.decode(issued.token, options={"verify_signature": False}) == {
        "iss": "trelay",
        "sub": "demo",
        "iat": 1_700_000_000,
        "jti": "id-1",
    }


def test_ids_have_256_bits_and_differ() -> None:
    issuing = Tokens([NEW])
    ids = {jwt.decode(issuing.issue("a", 0).token, options={"verify_signature": False})["jti"] for _ in range(100)}
    assert len(ids) == 100
    assert {len(base64.urlsafe_b64decode(text + "=")) for text in ids} == {32}


def test_a_token_or_key_is_not_shown() -> None:
    issued = tokens().issue("demo", 0)
    assert issued.token not in repr(issued)
    assert "nnnn" not in repr(NEW)


def test_the_header_is_the_one_of_tokens_in_use() -> None:
    """A library that encodes the header differently would invalidate the token of every consumer."""
    header = tokens().issue("demo", 0).token.partition(".")[0]
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"HS256","kid":"2026","typ":"JWT"}'


def test_the_first_key_signs_and_every_key_verifies() -> None:
    before = tokens(OLD).issue("demo", 0)
    rotated = tokens(NEW, OLD)
    assert rotated.read(before.token) == before.claims
    assert jwt.get_unverified_header(rotated.issue("demo", 0).token)["kid"] == "2026"
    assert refused(tokens(NEW), before.token)


def test_every_altered_character_is_refused() -> None:
    """Including the last one, whose two lowest bits a lax decoder ignores."""
    issuing = tokens()
    genuine = issuing.issue("demo", 0).token
    for position, was in enumerate(genuine):
        for other in ALPHABET + ".=+/ ":
            if other != was:
                changed = genuine[:position] + other + genuine[position + 1 :]
                assert refused(issuing, changed), f"position {position}: {was!r} to {other!r}"
        assert refused(issuing, genuine[:position] + genuine[position + 1 :]), f"without position {position}"
        assert refused(issuing, genuine[:position]), f"cut at {position}"


@pytest.mark.parametrize("added", ["=", "==", ".", "A", " ", "\n"])
def test_anything_added_is_refused(added: str) -> None:
    issuing = tokens()
    genuine = issuing.issue("demo", 0).token
    assert refused(issuing, genuine + added)
    assert refused(issuing, added + genuine)


def test_another_clients_token_is_refused() -> None:
    issuing = tokens()
    assert refused(issuing, issuing.issue("demo", 0).token, "other")


def test_another_issuers_token_is_refused() -> None:
    assert refused(tokens(), tokens(issuer="elsewhere").issue("demo", 0).token)


@pytest.mark.parametrize(
    "headers",
    [
        {"kid": "2025"},
        {"kid": "other"},
        {"alg": "HS512"},
        {"typ": "at+jwt"},
        {"jku": "https://example.com"},
        {"x5u": "https://example.com"},
    ],
)
def test_an_unknown_header_is_refused_with_a_valid_signature(headers: dict[str, str]) -> None:
    token = signed(NEW)
    assert tokens().read(token).client_id == "demo"
    assert refused(tokens(NEW, OLD), signed(NEW, headers))


def test_the_algorithm_none_is_refused() -> None:
    claims = {"iss": "trelay", "sub": "demo", "iat": 1, "jti": "x"}
    assert refused(tokens(), jwt.encode(claims, "", algorithm="none", headers={"kid": "2026"}))
    header, payload, _ = signed(NEW).split(".")
    assert refused(tokens(), f"{header}.{payload}.")


@pytest.mark.parametrize(
    "claims", [{"iss": None}, {"sub": None}, {"iat": None}, {"jti": None}, {"jti": 7}, {"sub": "a b"}, {"sub": ""}]
)
def test_a_missing_or_invalid_claim_is_refused(claims: dict[str, object]) -> None:
    assert refused(tokens(), signed(NEW, claims=claims))


def test_a_clock_that_is_behind_refuses_no_token() -> None:
    issued = tokens().issue("demo", 32_503_680_000)
    assert tokens().read(issued.token) == issued.claims


@given(st.one_of(st.text(), st.binary().map(lambda value: base64.urlsafe_b64encode(value).decode())))
def test_hostile_tokens_are_refused(text: str) -> None:
    issuing = tokens()
    header, payload, signature = issuing.issue("demo", 0).token.split(".")
    for token in (text, f"{text}.{payload}.{signature}", f"{header}.{text}.{signature}", f"{header}.{payload}.{text}"):
        if token:
            assert refused(issuing, token)


def test_the_keys_of_the_settings_are_signing_keys_in_their_order() -> None:
    options = TokenOptions.model_validate(
        {"keys": [{"id": "2026", "secret": "k" * 32}, {"id": "2025", "secret": "o" * 32}]}
    )
    assert [key.key() for key in options.keys] == [SigningKey("2026", b"k" * 32), SigningKey("2025", b"o" * 32)]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ([{"id": "a", "secret": "k" * 31}], "at least 32 bytes"),
        ([{"id": "a", "secret": "k" * 32}, {"id": "a", "secret": "o" * 32}], "two keys with the same id"),
    ],
)
def test_a_short_key_and_a_repeated_id_are_refused(keys: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TokenOptions.model_validate({"keys": keys})


def test_a_generated_key_is_random() -> None:
    assert new_key() != new_key()
    assert new_key(lambda size: b"r" * size) == SigningKey("generated", b"r" * 32)


NOW = 1_767_323_045.0


def test_a_ticket_stands_for_its_token_for_a_while() -> None:
    issuer = tokens()
    issued = issuer.issue("demo", NOW)
    ticket = issuer.issue_ticket(issued.claims, "", NOW)
    found = issuer.read_ticket(ticket, "https://any.example")
    assert found.claims == issued.claims
    assert found.expires == NOW + TICKET_SECONDS
    assert issuer.read_ticket(ticket, "").ticket_hash == found.ticket_hash
    other = issuer.issue_ticket(issued.claims, "", NOW)
    assert issuer.read_ticket(other, "").ticket_hash != found.ticket_hash


def test_other_tickets_are_refused() -> None:
    issuer = tokens()
    issued = issuer.issue("demo", NOW)
    bound = issuer.issue_ticket(issued.claims, "https://app.example", NOW)
    assert issuer.read_ticket(bound, "https://app.example").claims == issued.claims
    for ticket, page in (
        (bound, "https://evil.example"),
        (bound, ""),
        (issued.token, "https://app.example"),
        ("a.b.c", ""),
        (bound[:-4] + "AAAA", "https://app.example"),
    ):
        with pytest.raises(Refused) as refused:
            issuer.read_ticket(ticket, page)
        assert refused.value.refusal is TICKET_REFUSED
    with pytest.raises(Refused) as refused:
        issuer.read(bound)
    assert refused.value.refusal is TOKEN_REFUSED


def test_replaced_keys_verify_at_once_and_sign_later() -> None:
    issuing = Tokens([OLD], sign_after=60, now=NOW)
    old = issuing.issue("demo", NOW)
    issuing.replace_keys([NEW, OLD], NOW)
    assert issuing.read(signed(NEW)).client_id == "demo"
    for later, key in ((59, OLD), (60, NEW)):
        token = issuing.issue("demo", NOW + later).token
        assert jwt.get_unverified_header(token)["kid"] == key.id
        ticket = issuing.issue_ticket(old.claims, "", NOW + later)
        assert jwt.get_unverified_header(ticket)["kid"] == key.id
    issuing.replace_keys([NEW], NOW)
    assert refused(issuing, old.token)


def test_the_keys_are_in_the_settings_or_in_a_folder() -> None:
    with pytest.raises(ValueError, match="expected one of them"):
        TokenOptions.model_validate({"keys": [{"id": "2026", "secret": "k" * 32}], "key_folder": "/run/keys"})
