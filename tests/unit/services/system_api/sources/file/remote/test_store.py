"""The files that a remote file system has open. What else a store does is tested with its source."""

import gc
import io

import pytest

from services.system_api.sources.file.remote.store import RemoteStore
from services.system_api.sources.file.remote_options import RemoteOptions


class _File(io.BytesIO):
    """A file whose end waits for an answer of its server, unlike those in memory."""

    def __init__(self, ended: list[bytes], content: bytes) -> None:
        super().__init__(content)
        self._ended = ended

    def close(self) -> None:
        if not self.closed:
            self._ended.append(self.getvalue())
        super().close()


@pytest.fixture
def ended() -> list[bytes]:
    """The content of the files that have ended."""
    return []


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, ended: list[bytes]) -> RemoteStore:
    found = RemoteStore("memory://in/*", RemoteOptions())
    monkeypatch.setattr(found._fs, "open", lambda path, _mode: _File(ended, path.encode()))
    return found


def test_a_reader_that_is_collected_asks_for_no_answer_and_the_next_request_ends_its_file(
    store: RemoteStore, ended: list[bytes]
) -> None:
    """It is collected in the event loop, for example, which must not wait for a server."""
    reader = store.open("/in/a")
    assert reader.read() == b"/in/a"
    del reader
    gc.collect()
    assert ended == []
    with store.open("/in/b"):
        assert ended == [b"/in/a"]


def test_closing_ends_each_file_once(store: RemoteStore, ended: list[bytes]) -> None:
    with store.open("/in/a"):
        pass
    left = store.open("/in/b")
    store.close()
    assert sorted(ended) == [b"/in/a", b"/in/b"]
    left.close()
    store.close()
    assert sorted(ended) == [b"/in/a", b"/in/b"]
