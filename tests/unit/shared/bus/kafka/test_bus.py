"""The certificates with which the bus connects."""

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from shared.bus.kafka.client.tls import BrokerTls
from shared.bus.kafka.options import KafkaOptions
from shared.errors import SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client certificate with its key in one file, and in two."""
    folder = tmp_path_factory.mktemp("certificates")
    issued = trustme.CA().issue_cert("trelay")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))
    (folder / "encrypted.pem").write_bytes(encrypted)
    return folder


def options(folder: Path, **files: str) -> KafkaOptions:
    paths = {name: str(folder / file) for name, file in files.items()}
    return KafkaOptions.model_validate({"security_protocol": "SSL", **paths})


@pytest.mark.parametrize("files", [{"cert_file": "both.pem"}, {"cert_file": "cert.pem", "key_file": "key.pem"}])
def test_the_key_is_in_the_file_of_the_certificate_or_in_its_own(folder: Path, files: dict[str, str]) -> None:
    assert BrokerTls(options(folder, **files)) is not None


@pytest.mark.parametrize(
    "files",
    [{"cert_file": "cert.pem"}, {"cert_file": "missing.pem"}, {"cert_file": "cert.pem", "key_file": "cert.pem"}],
)
def test_files_that_cannot_be_used_are_named(folder: Path, files: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^bus: cert_file .* cannot be used: ") as raised:
        BrokerTls(options(folder, **files))
    for file in files.values():
        assert str(folder / file) in str(raised.value)


def test_an_encrypted_key_needs_its_password_and_prompts_for_none(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sealed = options(folder, cert_file="cert.pem", key_file="encrypted.pem")
    with pytest.raises(SettingsError, match=r"^bus: cert_file .* cannot be used: "):
        BrokerTls(sealed)
    assert BrokerTls(sealed.model_copy(update={"key_password": SecretStr("hunter2")})) is not None
    with pytest.raises(SettingsError, match=r"^bus: cert_file .* cannot be used: "):
        BrokerTls(sealed.model_copy(update={"key_password": SecretStr("wrong")}))
    assert capfd.readouterr() == ("", "")
