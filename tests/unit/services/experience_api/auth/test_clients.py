import secrets

import pytest

from services.experience_api.auth.clients import ClientExists, add_client, rotate_secret
from services.experience_api.auth.secrets import Comparison
from services.experience_api.registry.memory import MemoryRegistry
from shared.errors import Malformed
from shared.lease import MemoryLeaseStore


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry(MemoryLeaseStore())


async def test_only_the_hash_of_a_secret_is_stored(registry: MemoryRegistry) -> None:
    secret = await add_client(registry, "shop")
    client = await registry.find("shop")
    assert client is not None
    assert secret not in client.secret_hash
    assert client.secret_hash not in repr(client)


async def test_an_existing_id_is_an_error_and_changes_nothing(registry: MemoryRegistry) -> None:
    await add_client(registry, "shop")
    before = await registry.find("shop")
    with pytest.raises(ClientExists, match="'shop'"):
        await add_client(registry, "shop")
    assert await registry.find("shop") == before


@pytest.mark.parametrize(
    ("name", "secret", "channels"), [("a b", "x", ["a"]), ("a", "", ["a"]), ("a", "x", ["a..b"]), ("a", "x", ["**.a"])]
)
async def test_an_invalid_client_is_refused(
    registry: MemoryRegistry, name: str, secret: str, channels: list[str]
) -> None:
    with pytest.raises(Malformed):
        await add_client(registry, name, secret=secret, channels=channels)
    assert await registry.page() == []


async def test_a_new_secret_is_generated_or_given_and_differs(registry: MemoryRegistry) -> None:
    old = await add_client(registry, "shop")
    new = await rotate_secret(registry, "shop", overlap=10.0)
    assert new is not None
    assert new not in {None, old}
    client = await registry.find("shop")
    assert client is not None
    assert Comparison(secrets.token_bytes).matches(new, [client.secret_hash])
    assert Comparison(secrets.token_bytes).matches(old, client.secret_hashes)
    assert await rotate_secret(registry, "shop", secret="chosen") == "chosen"
    with pytest.raises(Malformed, match="expected another one"):
        await rotate_secret(registry, "shop", secret="chosen")
    with pytest.raises(Malformed, match="the secret is invalid"):
        await rotate_secret(registry, "shop", secret="")
    assert await rotate_secret(registry, "unknown") is None
