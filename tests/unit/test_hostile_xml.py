"""XML at each entrance: what it names outside of itself is not read, and what it would expand to takes no memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.process_api.pipeline.steps.fields import documents
from services.system_api.sources.file.documents.records import UnreadableDocument
from services.system_api.sources.file.documents.xml_records import read_xml
from shared.errors import Malformed
from tests.unit.services.system_api.sources.file.documents.test_json_items import Portions
from tests.unit.services.system_api.sources.http.polling.test_formats import parsed

Read = Callable[[str], Any]
SECRET = "s3cret"
_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))

HOSTILE = {
    "an entity that expands to gigabytes": f'<!DOCTYPE a [<!ENTITY l0 "lol">{_LAUGHS}]><a><b>&l11;</b></a>',
    "an entity of a file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file://{file}">]><a><b>&x;</b></a>',
    "an entity of a server": '<!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]><a><b>&x;</b></a>',
    "a parameter entity": '<!DOCTYPE a [<!ENTITY % x SYSTEM "file://{file}"> %x;]><a><b>1</b></a>',
}


def of_file(text: str) -> Any:
    return [record for record in read_xml(Portions(text.encode(), 1 << 20), ("a", "b"), 1 << 20, lists=()) if record]


ENTRANCES: dict[str, Read] = {
    "file source": of_file,
    "http source": lambda text: parsed(text.encode(), "application/xml"),
    "step convert": documents.from_xml,
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_entities_are_refused(entrance: str, hostile: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    text = HOSTILE[hostile].replace("{file}", str(tmp_path / "secret"))
    with pytest.raises((Malformed, UnreadableDocument)) as caught:
        ENTRANCES[entrance](text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("element", ["<b>x&eacute;y</b>", "<b c='>x&eacute;y'>1</b>"])
def test_an_entity_that_is_not_defined_does_not_vanish(entrance: str, element: str) -> None:
    """The parser takes it for one that a DTD elsewhere defines."""
    text = f'<!DOCTYPE a SYSTEM "a.dtd"><a>{element}</a>'
    try:
        (record,) = ENTRANCES[entrance](text)
    except (Malformed, UnreadableDocument):
        return
    assert "&eacute;" in (record.error or "")


@pytest.mark.parametrize("entrance", ["file source", "step convert"])
def test_what_looks_like_an_entity_is_none(entrance: str) -> None:
    text = '<!DOCTYPE a SYSTEM "a.dtd"><a><b c="&amp;&#65;"><!-- <b c="&x;"> --><![CDATA[<b c="&x;">]]></b></a>'
    assert "&x;" in repr(ENTRANCES[entrance](text))


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_document_type_elsewhere_is_not_fetched(entrance: str, tmp_path: Path) -> None:
    (tmp_path / "a.dtd").write_text(f'<!ELEMENT a ANY><!ATTLIST a x CDATA "{SECRET}">')
    text = f'<!DOCTYPE a SYSTEM "file://{tmp_path}/a.dtd"><a><b>1</b></a>'
    try:
        found = repr(ENTRANCES[entrance](text))
    except (Malformed, UnreadableDocument) as exc:
        found = str(exc)
    assert SECRET not in found
