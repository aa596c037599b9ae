import pytest

from shared.http.hosts import allowed_hosts, host_allowed


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "localhost.", "a.localhost", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:80"],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_a_loopback_listener_answers_to_the_names_of_the_loopback(address: str, host: str) -> None:
    assert host_allowed(host, allowed_hosts(address, None))


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "127.evil", ":80"]
)
def test_it_answers_to_no_other_name(host: str) -> None:
    assert not host_allowed(host, allowed_hosts("127.0.0.1", None))


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "relay"])
def test_another_listener_answers_to_every_name(address: str) -> None:
    assert host_allowed("relay.example.com", allowed_hosts(address, None))


def test_the_setting_replaces_the_default() -> None:
    allowed = allowed_hosts("127.0.0.1", ("Relay.example.com", "*.trelay.example"))
    found = {host: host_allowed(host, allowed) for host in ("relay.example.com:8443", "a.trelay.example", "localhost")}
    assert found == {"relay.example.com:8443": True, "a.trelay.example": True, "localhost": False}
    assert not host_allowed("trelay.example", allowed)
    assert host_allowed("any", allowed_hosts("127.0.0.1", ("*",)))
