"""What a delivery becomes."""

import json
import random
from typing import Any

import pytest

from services.system_api.sources.http.received.bodies import FORM
from services.system_api.sources.http.received.items import Item, Received, ReceivedItems
from services.system_api.sources.http.received.options import ReceivedOptions
from services.system_api.sources.source import EventBuilder
from shared.runtime.clock import SYSTEM_CLOCK

AT = 1_800_000_000.0


def items(body: bytes, *, form: bool = False, headers: Any = None, **given: Any) -> list[Item]:
    options = ReceivedOptions.model_validate(given)
    maker = ReceivedItems(EventBuilder("hooks", "t", None, SYSTEM_CLOCK, random.Random(1)), options)
    maker.begin_batch()
    return maker.of(Received(7, "d", body, AT, FORM if form else "application/json", headers or {}))


def event(item: Item) -> dict[str, Any]:
    assert item.outgoing is not None, item.reject
    found: dict[str, Any] = json.loads(item.outgoing.value or b"")
    return found


def error(item: Item) -> str:
    assert item.reject is not None
    return item.reject.error


def test_an_object_is_one_event() -> None:
    (item,) = items(b' {"a":\r\n1} ')
    found = event(item)
    assert (item.position, item.number, item.last) == (7, 0, True)
    assert (found["id"], found["type"], found["subject"]) == ("hooks:d", "t", "hooks")
    assert found["time"] == "2027-01-15T08:00:00.000Z"
    assert found["data"] == {"a": 1}
    assert b"\n" not in ((item.outgoing and item.outgoing.value) or b"\n")


def test_a_list_is_one_event_for_each_item() -> None:
    found = items(b'[{"n":1},{"n":2}]')
    assert [event(item)["id"] for item in found] == ["hooks:d/0", "hooks:d/1"]
    assert [(item.number, item.last) for item in found] == [(0, False), (1, True)]
    assert [event(item)["id"] for item in items(b"[1]")] == ["hooks:d/0"]


def test_a_form_is_the_json_in_it() -> None:
    assert event(items(b"payload=%7B%22a%22%3A1%7D", form=True)[0])["data"] == {"a": 1}
    assert error(items(b"payload=%ff", form=True)[0]).startswith("d: the form cannot be read")


def test_expressions_pick_what_the_event_has() -> None:
    body = b'{"events":[{"uid":9,"at":1800000000,"kind":"order.paid","order":{"id":"o1"}}]}'
    (item,) = items(body, records="events", id="uid", time="at", type_from="kind", subject="order.id")
    found = event(item)
    assert (found["id"], found["time"], found["type"], found["subject"]) == (
        *("hooks:9", "2027-01-15T08:00:00Z", "order.paid", "o1"),
    )
    assert list(found).count("type") == 1
    assert found["source"] == "/sources/hooks"


def test_headers_tell_type_and_subject() -> None:
    given: dict[str, Any] = {
        "type_from": {"header": "X-GitHub-Event", "prefix": "github."},
        "subject": {"header": "X-Repo"},
    }
    (item,) = items(b"{}", headers={"X-GitHub-Event": "push", "X-Repo": "r"}, **given)
    assert (event(item)["type"], event(item)["subject"]) == ("github.push", "r")
    (item,) = items(b"{}", headers={"X-Repo": "r"}, **given)
    assert event(item)["type"] == "t"
    assert "the header X-Repo is missing" in error(items(b"{}", **given)[0])


def test_where_an_expression_gives_nothing_the_default_applies() -> None:
    for body in (b"{}", b'{"kind":null,"at":null}', b'{"kind":""}'):
        found = event(items(body, type_from="kind", time="at")[0])
        assert (found["type"], found["time"]) == ("t", "2027-01-15T08:00:00.000Z")


@pytest.mark.parametrize("body", [b"[]", b"null"])
def test_nothing_is_no_event_and_no_reject(body: bytes) -> None:
    (item,) = items(body)
    assert (item.outgoing, item.reject, item.last) == (None, None, True)
    assert items(b'{"other":1}', records="events")[0].reject is None


@pytest.mark.parametrize(
    ("body", "given", "reason"),
    [
        (b"{no json", {}, "d: "),
        (b'{"a":1e400}', {}, "1e400"),
        (b"{}", {"id": "id"}, "id: the expression gives nothing"),
        (b'{"id":[1]}', {"id": "id"}, "id: the expression gives [1]"),
        (b'{"s":null}', {"subject": "s"}, "subject: the expression gives null"),
        (b'{"t":"yesterday"}', {"time": "t"}, "time: found"),
        (b'{"a":"' + b"x" * 100 + b'"}', {"record_limit": 64}, "the limit is 64"),
        (b'{"a":1}', {"records": "$number('x')"}, "records: "),
        (b'{"a":"x"}', {"id": "$number(a)"}, "id: "),
    ],
)
def test_what_cannot_be_an_event_is_a_reject_with_its_reason(body: bytes, given: dict[str, Any], reason: str) -> None:
    (item,) = items(body, **given)
    assert reason in error(item)
    assert item.reject is not None
    assert item.reject.id.startswith("hooks:d")
    assert item.reject.value == body


def test_one_bad_item_leaves_the_others() -> None:
    found = items(b'[{"id":1},{},{"id":3}]', id="id")
    assert [item.reject is None for item in found] == [True, False, True]
    assert error(found[1]).startswith("d/1: id:")


def test_an_attribute_that_readers_refuse_is_a_reject() -> None:
    assert "surrogate" in error(items(b"{}", headers={"X-Repo": "\udcff"}, subject={"header": "X-Repo"})[0])
