"""The encodings of databases."""

import codecs

import pytest

from services.system_api.sources.table.postgresql.replication.encoding import UTF8, Encoding


@pytest.mark.parametrize(
    ("server", "codec"),
    [
        ("SQL_ASCII", "utf-8"),
        ("UTF8", "utf-8"),
        ("LATIN1", "iso8859-1"),
        ("LATIN10", "iso8859-16"),
        ("ISO_8859_5", "iso8859-5"),
        ("WIN1252", "cp1252"),
        ("WIN866", "cp866"),
        ("KOI8R", "koi8-r"),
        ("KOI8U", "koi8-u"),
        ("EUC_JP", "euc_jp"),
        ("EUC_KR", "euc_kr"),
        ("EUC_CN", "gb2312"),
    ],
)
def test_the_encodings_that_a_database_can_have(server: str, codec: str) -> None:
    assert Encoding.of(server) == Encoding(server, codec, raw=True)


@pytest.mark.parametrize("server", ["EUC_TW", "MULE_INTERNAL"])
def test_what_python_does_not_have(server: str) -> None:
    assert Encoding.of(server) is None


def test_by_default_the_server_converts() -> None:
    assert codecs.lookup(UTF8.codec).name == "utf-8"
    assert not UTF8.raw
