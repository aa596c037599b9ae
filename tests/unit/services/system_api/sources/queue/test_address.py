"""The address of a broker."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from pydantic import ValidationError

from services.system_api.sources.queue.address import AddressOptions
from shared.errors import SettingsError


class Address(AddressOptions):
    SCHEMES: ClassVar[dict[str, int]] = {"amqp": 5672, "amqps": 5671}
    TLS_SCHEMES: ClassVar[frozenset[str]] = frozenset({"amqps"})
    EXAMPLE: ClassVar[str] = "amqp://user@host:5672"


def address(url: str, **more: Any) -> Address:
    return Address.model_validate({"type": "t", "url": url, **more})


def test_the_parts_of_an_address() -> None:
    found = address("amqp://us%40er@host")
    assert (found.host, found.port, found.user, found.secret, found.secure) == ("host", 5672, "us@er", None, False)
    assert address("amqps://[::1]:99").port == 99
    assert address("amqps://[::1]:99").host == "::1"
    assert address("amqp://host").user is None


def test_a_password_in_the_url_is_moved_and_not_shown() -> None:
    found = address("amqp://user:pa%2Fss@host:1/vhost")
    assert (found.url, found.secret) == ("amqp://user@host:1/vhost", "pa/ss")
    assert "pa" not in repr(found).replace("password", "").replace("path", "")
    with pytest.raises(ValidationError, match="expected one of them"):
        address("amqp://user:pass@host", password="pass")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://host", "found 'http'; expected amqp://"),
        ("host:5672", "expected amqp://"),
        ("amqp://", "found no host"),
        ("amqp://user:pa@ss/word@host", "found no host"),
        ("amqp://host:0", "found no port"),
        ("amqp://host:x", "found no port"),
        ("amqp://ho st", "found no host"),
        ("amqp://host:99999", "port"),
        ("amqp://[::1", "found no address"),
        ("", "at least 1 character"),
    ],
)
def test_what_is_no_address_is_refused(url: str, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        address(url)


class Several(Address):
    SEVERAL: ClassVar[bool] = True


def test_several_hosts_where_that_is_allowed() -> None:
    found = Several.model_validate({"type": "t", "url": "amqp://user:pass@a,b:1,c:2"})
    assert found.addresses == [("a", 5672), ("b", 1), ("c", 2)]
    assert (found.host, found.port, found.user, found.secret) == ("a", 5672, "user", "pass")
    with pytest.raises(ValidationError, match="several hosts"):
        address("amqp://a,b")


def test_a_password_needs_a_user_and_certificates_need_tls() -> None:
    with pytest.raises(ValidationError, match="names no user"):
        address("amqp://host", password="secret")
    with pytest.raises(ValidationError, match=r"set `url` to amqps://"):
        address("amqp://host", tls={})
    with pytest.raises(ValidationError, match="cert_file"):
        address("amqps://host", tls={"key_file": "key.pem"})


def test_the_tls_context_trusts_the_named_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = authority.issue_cert("client")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    files = {"ca_file": str(tmp_path / "ca.pem"), "cert_file": str(tmp_path / "client.pem")}
    context = address("amqps://host", tls=files).tls_context()
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert address("amqp://host").tls_context() is None
    assert address("amqps://host").tls_context() is not None
    with pytest.raises(SettingsError, match=r"ca_file .*missing.pem cannot be used"):
        address("amqps://host", tls={"ca_file": str(tmp_path / "missing.pem")}).tls_context()
