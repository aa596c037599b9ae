"""Records of JSON documents, however the bytes are divided."""

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.documents import json_items
from services.system_api.sources.file.documents.json_items import read_json
from services.system_api.sources.file.documents.records import FoundRecord, UnreadableDocument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


class Portions(io.BytesIO):
    """Returns at most a few bytes at once."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._size if size is None or size < 0 else min(size, self._size))


def found(content: bytes, *path: str, size: int = 1 << 20, limit: int = 1 << 20) -> list[FoundRecord]:
    return [record for record in read_json(Portions(content, size), path, limit) if record is not None]


def values(content: bytes, *path: str, size: int = 1 << 20) -> list[Any]:
    return [json.loads(record.data) for record in found(content, *path, size=size)]


@given(st.lists(JSON), st.integers(1, 20), st.sampled_from([None, 0, 2]), st.booleans())
def test_the_items_of_an_array_are_the_records(
    items: list[Any], size: int, indent: int | None, ascii_only: bool
) -> None:
    content = json.dumps(items, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    records = found(content, size=size)
    assert [json.loads(record.data.decode(errors="surrogatepass")) for record in records] == items
    for record in records:
        first, last = map(int, record.place.removeprefix("bytes ").split("-"))
        assert content[first : last + 1] == record.data


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), min_size=1), st.integers(1, 9))
def test_documents_one_after_another_are_records(items: list[Any], size: int) -> None:
    content = "\n\n".join(json.dumps(item) for item in items).encode()
    assert values(content, size=size) == items


@given(JSON, st.lists(JSON), st.dictionaries(st.text(max_size=3), JSON), st.integers(1, 9))
def test_a_path_leads_to_an_array(other: Any, items: list[Any], more: dict[str, Any], size: int) -> None:
    content = json.dumps({"a": other, "data": {**more, "items": items}, "z": other}).encode()
    assert values(content, "data", "items", size=size) == items


@pytest.mark.timeout(240)
@pytest.mark.parametrize("indent", [None, 2, 8])
def test_objects_within_objects_take_time_by_their_size(indent: int | None) -> None:
    item: Any = {"city": "x"}
    for depth in range(20):
        item = {**{f"name {number}": 'value \\ "' for number in range(depth)}, "inner": item, "list": [[1], [2]]}
    assert values(json.dumps([item, item], indent=indent).encode()) == [item, item]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("opener", [b"{", b"["])
@pytest.mark.parametrize("end", [b"{", b"[", b'"', b"", b"]}" * 3])
def test_a_broken_object_takes_time_by_its_size(opener: bytes, end: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        found(b'[{"a":' + opener + b'  "name":   "value",   ' * 2000 + end)


def test_arrays_on_the_way_are_entered_and_an_object_at_the_end_is_one_record() -> None:
    pages = b'{"pages":[{"items":[{"n":1},{"n":2}]},{"items":[]},{"none":0},7,{"items":{"n":3}}]}'
    assert values(pages, "pages", "items") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert values(b'\xef\xbb\xbf{"n":1}') == [{"n": 1}]
    assert values(b'{"n":1}', "n") == [1]
    assert values(b" [ ] ") == []


@pytest.mark.parametrize(
    ("content", "path", "error"),
    [
        (b"", (), "found an empty document"),
        (b" \n", (), "found an empty document"),
        (b"id,name\n", (), "byte 0: found 'id,name\\n'; expected an array or an object"),
        (b"\xef\xbb", (), "byte 0: found"),
        (b"[", (), "byte 1: the document ends within a value"),
        (b'[{"a":1}', (), "byte 8: the document ends within ',' or ']'"),
        (b'[{"a":1', (), "byte 7: the document ends within an object or an array"),
        (b'[{"a":"x', (), "byte 8: the document ends within a string"),
        (b'["x\\', (), "byte 4: the document ends within a string"),
        (b"[1 2]", (), "byte 3: found '2]'; expected ',' or ']'"),
        (b"[1,]", (), "byte 3: found ']'; expected a value"),
        (b"[1,,2]", (), "byte 3: found ',2]'; expected a value"),
        (b'{"a" 1}', ("a",), "byte 5: found '1}'; expected ':'"),
        (b"{1}", ("a",), "byte 1: found '1}'; expected the name of a member"),
        (b'{"a":1 "b"}', ("x",), "byte 7: found '\"b\"}'; expected ',' or '}'"),
        (b'{"x":1}', ("q", "r"), "found nothing at 'q.r'"),
        (b"{}", ("q",), "found nothing at 'q'"),
        (b"[1]}", (), "byte 3: found '}'; expected an array or an object"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_broken_document_is_an_error_that_names_the_byte(
    content: bytes, path: tuple[str, ...], error: str, size: int
) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        found(content, *path, size=size)
    assert error.split("found", maxsplit=1)[0] in str(caught.value) if size == 1 else error in str(caught.value)


@given(st.binary(), st.integers(1, 9))
def test_any_bytes_are_records_or_an_error(content: bytes, size: int) -> None:
    try:
        records = found(content, size=size)
    except UnreadableDocument:
        return
    assert records or content.strip().startswith((b"[", b"\xef\xbb\xbf"))


@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_record_above_the_limit_keeps_its_beginning_and_no_memory(size: int) -> None:
    large = json.dumps({"text": 'x" ' * 40_000, "list": [[1]] * 20_000})
    records = found(f'[{{"n":1}},{large},{{"n":2}}]'.encode(), size=size, limit=70_000)
    assert [record.error is None for record in records] == [True, False, True]
    assert records[1].data == large.encode()[:65_536]
    assert records[1].size == len(large)
    assert records[1].error == (f"found a record of {len(large)} bytes, the limit is 70000; its first 65536 are kept")


def test_what_is_skipped_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "_CHUNK", 1000)
    content = json.dumps({"skip": ["x" * 100_000, {"y": 1}], "items": [1]}).encode()
    assert len([None for record in read_json(io.BytesIO(content), ["items"], 100) if record is None]) > 10
    with pytest.raises(UnreadableDocument, match="found a value of more than 100 bytes"):
        found(b"[" + b"1" * 10_000 + b"]", limit=100)


def test_the_name_of_a_member_may_be_written_with_escapes() -> None:
    assert values(b'{"d\\u00e4t\\u0061":[1],"d":2}', "däta", size=1) == [1]
    assert values(b'{"\\x":[0],"\\ud800":[0],"a":[1]}', "a") == [1]


def test_a_long_name_is_passed_by_in_bounded_memory() -> None:
    class Endless(io.BytesIO):
        """So many bytes of a name, and then the rest of the document."""

        left = 64 * 1_048_576

        def read(self, size: int | None = -1, /) -> bytes:
            if self.left <= 0:
                return super().read(size)
            self.left -= 262_144
            return b'{"' + b"x" * 262_142 if self.left == 63.75 * 1_048_576 else b"x" * 262_144

    records = read_json(Endless(b'":1,"a":[2]}'), ("a",), 1000)
    tracemalloc.start()
    try:
        assert [record.data for record in records if record is not None] == [b"2"]
        assert tracemalloc.get_traced_memory()[1] < 4 * 1_048_576
    finally:
        tracemalloc.stop()
