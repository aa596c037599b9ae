"""The event that an operator edits."""

import json
from pathlib import Path

import click
import msgspec
import pytest

from services.cli.dead_letters import editing
from services.process_api.dead_letters.views import whole
from shared.errors import TrelayError
from tests.unit.services.process_api.dead_letters.lettering import bad_line, letter, reject
from tests.unit.services.process_api.making import event


def text_of(found: object) -> str:
    return editing.to_edit(msgspec.json.encode(found))


def test_an_event_is_edited_with_all_digits_of_its_numbers() -> None:
    shown = text_of(whole(letter(reject(value=event(text='{"n":1.10,"big":9007199254740993}'))), None))
    assert '"n": 1.10,' in shown
    assert '"big": 9007199254740993' in shown


def test_input_becomes_the_data_of_an_event_to_complete() -> None:
    shown = json.loads(text_of(whole(letter(bad_line()), None)))
    assert shown == {
        "specversion": "1.0",
        "id": "files:a.csv:1",
        "source": "/sources/files",
        "type": "",
        "data": "YTtiO/8=",
    }


def test_an_event_that_is_no_json_is_edited_as_text() -> None:
    assert text_of(whole(letter(reject(value=b'{"id": ')), None)) == '{"id": '


def test_what_is_no_json_any_more_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "edit", lambda *_, **__: '{"a": }')
    with pytest.raises(TrelayError, match=r"not JSON.*kept in .*; correct it") as caught:
        editing.edited("{}")
    kept = Path(str(caught.value).partition("kept in ")[2].partition(";")[0])
    assert kept.read_text() == '{"a": }'
    kept.unlink()


@pytest.mark.parametrize("found", [None, "{}"], ids=["closed", "unchanged"])
def test_an_event_that_was_not_changed_is_not_replayed(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "edit", lambda *_, **__: found)
    with pytest.raises(TrelayError, match="was not changed"):
        editing.edited("{}")


def test_an_edited_event_is_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "edit", lambda *_, **__: '{"a": 1.10}')
    assert editing.edited("{}") == b'{"a": 1.10}'
