"""Certificate files that settings name: each kind of place, each kind of fault."""

from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from services.cli.check.certificates import faults
from services.standalone.settings import WholeSettings

TABLE = {"kind": "table", "url": "postgresql://reader@db/shop", "table": "orders", "type": "t"}
SASL = {"kind": "kafka", "security_protocol": "SASL_SSL", "user": "u", "password": "p"}
PLACES: dict[str, dict[str, Any]] = {
    "database.tls.ca_file": {"database": {"tls": {"ca_file": "{ca}"}}},
    "bus.ca_file": {"bus": SASL | {"ca_file": "{ca}"}},
    "alerts.smtp.ca_file": {"alerts": {"smtp": {"host": "m", "ca_file": "{ca}"}, "recipients": ["a@example.com"]}},
    "system.sources.orders.eu.tls.ca_file": {
        "system": {"sources": {"orders.eu": TABLE | {"tls": {"ca_file": "{ca}"}}}}
    },
    "bus.cert_file": {"bus": SASL | {"cert_file": "{both}"}},
}
LISTENERS = ("system", "process", "experience")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    key, chain = issued.private_key_pem.bytes(), b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    opened = load_pem_private_key(key, None)
    sealed = opened.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))
    for name, content in {
        "ca.pem": authority.cert_pem.bytes(),
        "server.pem": chain,
        "server.key": key,
        "sealed.key": sealed,
        "sealed.pem": chain + sealed,
        "both.pem": chain + key,
        "other.key": authority.issue_cert("localhost").private_key_pem.bytes(),
        "empty": b"",
        "garbage": b"\0\xff no certificate",
    }.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    return folder


def settings(given: Any, folder: Path, **names: str) -> WholeSettings:
    """Put the paths of files into settings, in the place of their names in braces."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, str) and value.startswith("{"):
            return str(folder / names[value.strip("{}")])
        return value

    return WholeSettings.model_validate(filled(given))


@pytest.mark.parametrize("place", PLACES)
def test_files_that_can_be_used_are_not_mentioned(folder: Path, place: str) -> None:
    assert faults(settings(PLACES[place], folder, ca="ca.pem", both="both.pem")) == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent.pem", "absent.pem cannot be read: No such file or directory"),
        ("folder", "folder cannot be read: Is a directory"),
        ("empty", "empty "),
        ("garbage", "garbage "),
        ("server.key", "server.key "),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_place(folder: Path, place: str, name: str, said: str) -> None:
    (fault,) = faults(settings(PLACES[place], folder, ca=name, both=name))
    assert str(fault).startswith(f"{place}: {folder}/{said}")


@pytest.mark.parametrize("name", ["server.pem", "sealed.pem"])
def test_a_certificate_file_needs_its_key(folder: Path, name: str) -> None:
    (fault,) = faults(settings(PLACES["bus.cert_file"], folder, both=name))
    assert "expected a PEM file with a certificate and its key, and `key_password` if" in fault.sentence


@pytest.mark.parametrize(
    ("key", "places"),
    [
        ("server.key", []),
        ("absent", ["bus.key_file"]),
        ("other.key", ["bus.cert_file"]),
        ("sealed.key", ["bus.cert_file"]),
        ("empty", ["bus.cert_file"]),
    ],
)
def test_a_certificate_file_may_have_its_key_in_another_file(folder: Path, key: str, places: list[str]) -> None:
    given = {"bus": SASL | {"cert_file": "{cert}", "key_file": "{key}"}}
    found = faults(settings(given, folder, cert="server.pem", key=key))
    assert [str(fault).partition(": ")[0] for fault in found] == places


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(
    ("certificate", "key", "found"),
    [
        ("server.pem", "server.key", []),
        ("absent", "server.key", ["cert_file"]),
        ("server.pem", "absent", ["key_file"]),
        ("absent", "folder", ["cert_file", "key_file"]),
        ("server.pem", "other.key", [None]),
        ("garbage", "server.key", [None]),
        ("server.pem", "empty", [None]),
        ("server.pem", "sealed.key", [None]),
    ],
)
def test_a_listener_needs_a_certificate_with_its_key(
    folder: Path, listener: str, certificate: str, key: str, found: list[str | None]
) -> None:
    tls = {"cert_file": "{certificate}", "key_file": "{key}"}
    given = settings({listener: {"listen": {"tls": tls}}}, folder, certificate=certificate, key=key)
    places = [(listener, "listen", "tls", name) if name else (listener, "listen", "tls") for name in found]
    assert [fault.path for fault in faults(given)] == places


@pytest.mark.parametrize("place", ["listener", "bus"])
def test_an_encrypted_key_needs_its_password(folder: Path, place: str) -> None:
    tls = {"cert_file": "{certificate}", "key_file": "{key}", "key_password": "hunter2"}

    def given() -> dict[str, Any]:
        return {"system": {"listen": {"tls": tls}}} if place == "listener" else {"bus": SASL | tls}

    assert faults(settings(given(), folder, certificate="server.pem", key="sealed.key")) == []
    tls["key_password"] = "wrong"
    (fault,) = faults(settings(given(), folder, certificate="server.pem", key="sealed.key"))
    assert "wrong" not in fault.sentence
