import pytest
from multidict import CIMultiDict

from services.experience_api.producers.once.keys import (
    Key,
    id_of,
    key_of_event,
    key_of_message,
    key_of_request,
    read_key,
)
from services.experience_api.refusals import MALFORMED, Refused

JSON = CIMultiDict({"Content-Type": "application/json", "User-Agent": "a", "ce-id": "7"})


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e", "8e03978e"),
        (' "a" ', "a"),
        ("a b", "a b"),
        ("!" * 255, "!" * 255),
    ],
)
def test_a_key_with_or_without_quotes(value: str, key: str) -> None:
    assert read_key(CIMultiDict({"idempotency-key": value})) == key


def test_a_request_without_a_key() -> None:
    assert read_key(JSON) is None


@pytest.mark.parametrize("value", ["", '""', '"', 'a"b', "é", "\x00", "\udcff", "!" * 256], ids=repr)
def test_what_is_no_key_is_refused(value: str) -> None:
    with pytest.raises(Refused) as caught:
        read_key(CIMultiDict({"Idempotency-Key": value}))
    assert caught.value.refusal is MALFORMED
    assert "'Idempotency-Key': expected one key" in caught.value.detail


def test_two_keys_are_refused() -> None:
    with pytest.raises(Refused):
        read_key(CIMultiDict([("Idempotency-Key", "a"), ("Idempotency-Key", "a")]))


def key(
    producer: str = "shop",
    name: str = "k",
    headers: CIMultiDict[str] = JSON,
    query: str = "channel=a",
    body: bytes = b"1",
) -> Key:
    return key_of_request(producer, name, headers, query, body)


def test_the_digest_is_of_the_producer_and_the_key_alone() -> None:
    assert key().digest == key(query="channel=b", body=b"2").digest
    assert (
        len({key().digest, key(producer="bank").digest, key(name="l").digest, key(producer="sho", name="pk").digest})
        == 4
    )


def test_the_fingerprint_is_of_all_that_is_published() -> None:
    same = CIMultiDict({"ce-id": "7", "content-type": "application/json", "User-Agent": "b"})
    assert key().fingerprint == key(headers=same, name="other").fingerprint
    changed = [key(query="channel=b"), key(body=b"2"), key(headers=CIMultiDict(JSON, **{"ce-type": "t"}))]
    changed.append(key(headers=CIMultiDict({"Content-Type": "text/plain", "ce-id": "7"})))
    assert key().fingerprint not in {each.fingerprint for each in changed}
    assert len({each.fingerprint for each in changed}) == 4


def test_an_event_is_known_by_its_source_and_id() -> None:
    assert key_of_event("shop", "/s", "1") == key_of_event("shop", "/s", "1")
    assert key_of_event("shop", "/s", "1").fingerprint is None
    others = [("bank", "/s", "1"), ("shop", "/t", "1"), ("shop", "/s", "2"), ("shop", "/s1", "")]
    assert len({key_of_event(*each).digest for each in [*others, ("shop", "/s", "1")]}) == 5


def test_an_event_without_an_id_gets_the_same_one_each_time() -> None:
    assert id_of(key()) == id_of(key(body=b"2")) != id_of(key(name="l"))
    assert len(id_of(key())) == 36


def test_a_message_is_known_by_its_client_and_the_id_that_the_client_gave_it() -> None:
    made = key_of_message("shop", "1", {"type": b"t", "data": b"x"})
    assert made == key_of_message("shop", "1", {"data": b"x", "type": b"t"}), "in any order"
    others = [key_of_message("bank", "1", {}), key_of_message("shop", "2", {}), key_of_message("shop1", "", {})]
    assert made.digest not in {each.digest for each in others}
    changed = key_of_message("shop", "1", {"type": b"t", "data": b"y"})
    assert (changed.digest, changed.fingerprint == made.fingerprint) == (made.digest, False)
