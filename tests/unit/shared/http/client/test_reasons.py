import socket
import ssl

import aiohttp
import pytest

from shared.http.client.reasons import reason_of


async def test_a_refused_connection_is_one_sentence_without_its_address(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await session.get(f"http://127.0.0.1:{unused_tcp_port}/")
    assert "ssl:default" in str(refused.value)
    assert reason_of(refused.value) == "Connection refused"


def test_errors_of_tls_have_no_names_of_files_of_python() -> None:
    known = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    known.reason = "WRONG_VERSION_NUMBER"
    assert reason_of(known) == "TLS handshake failed: wrong version number"
    newer = ssl.SSLError(1, "[SSL] record layer failure (_ssl.c:1028)")
    assert reason_of(newer) == "TLS handshake failed: record layer failure"


def test_errors_of_name_resolution_keep_their_text() -> None:
    assert reason_of(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == "Name or service not known"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (aiohttp.ClientPayloadError("two\nlines"), "two\\nlines"),
        (TimeoutError(), ""),
    ],
)
def test_any_other_error_has_its_own_text_on_one_line(error: Exception, text: str) -> None:
    assert reason_of(error) == text
