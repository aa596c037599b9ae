import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.experience_api.admin.clients import ClientAdmin, NewClient, UnknownClient
from services.experience_api.auth.clients import ClientExists
from services.experience_api.registry.clients import ClientChange, Policy
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.tokens import TokenClaims
from shared.errors import Malformed
from shared.lease import MemoryLeaseStore


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry(MemoryLeaseStore())


@pytest.fixture
def admin(registry: MemoryRegistry) -> ClientAdmin:
    return ClientAdmin(registry)


async def test_a_generated_secret_is_shown_once_and_a_given_one_never(admin: ClientAdmin) -> None:
    assert (await admin.add(NewClient("shop")))["client_secret"].startswith("trs_")
    assert "client_secret" not in await admin.add(NewClient("other", secret="chosen by its owner"))
    assert (await admin.rotate("shop", 60.0))["client_secret"].startswith("trs_")
    assert "client_secret" not in await admin.rotate("shop", 0.0, "chosen by its owner")
    assert "client_secret" not in await admin.show("shop")


async def test_a_client_is_added_changed_and_removed(admin: ClientAdmin) -> None:
    await admin.add(NewClient("shop", channels=("a",), note="first", may_send=True))
    changed = await admin.change("shop", ClientChange(channels=("b.*",), policy=Policy.REJECT, note=""))
    assert (changed["channels"], changed["policy"], changed["note"]) == (["b.*"], "reject", "")
    assert changed["may_send"]
    assert (await admin.disable("shop"))["disabled"]
    assert not (await admin.enable("shop"))["disabled"]
    with pytest.raises(ClientExists):
        await admin.add(NewClient("shop"))
    assert await admin.remove("shop") == {"client_id": "shop", "removed": True}
    assert await admin.page() == []


async def test_a_token_is_revoked_and_the_client_stays(admin: ClientAdmin, registry: MemoryRegistry) -> None:
    await admin.add(NewClient("shop"))
    assert await admin.revoke("shop") == {"client_id": "shop", "revoked": False}
    await registry.register(TokenClaims("shop", b"1" * 32))
    assert (await admin.revoke("shop"))["revoked"]
    assert [view["client_id"] for view in await admin.page()] == ["shop"]


async def test_all_clients_are_listed_over_pages(admin: ClientAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.experience_api.admin.clients._PAGE", 2)
    names = [f"client-{number}" for number in range(5)]
    for name in names:
        await admin.add(NewClient(name))
    assert [view["client_id"] async for view in admin.all()] == names


@pytest.mark.parametrize(
    "work",
    [
        lambda admin: admin.show("nobody"),
        lambda admin: admin.rotate("nobody", 0.0),
        lambda admin: admin.change("nobody", ClientChange(note="x")),
        lambda admin: admin.disable("nobody"),
        lambda admin: admin.enable("nobody"),
        lambda admin: admin.revoke("nobody"),
        lambda admin: admin.remove("nobody"),
    ],
    ids=["show", "rotate", "change", "disable", "enable", "revoke", "remove"],
)
async def test_an_unknown_client_is_an_error(admin: ClientAdmin, work: Callable[[ClientAdmin], Awaitable[Any]]) -> None:
    with pytest.raises(UnknownClient, match="found no client 'nobody'"):
        await work(admin)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda admin: admin.rotate("shop", -1.0), "overlap"),
        (lambda admin: admin.rotate("shop", math.nan), "overlap"),
        (lambda admin: admin.rotate("shop", 1e9), "30 days"),
        (lambda admin: admin.rotate("shop", 0.0, "s3cret-of-shop"), "found 14 characters; expected 15 at least"),
        (lambda admin: admin.add(NewClient("new", "")), "found 0 characters"),
        (lambda admin: admin.add(NewClient("billing", "Billing-billing-2026")), "the id of the client and digits"),
        (lambda admin: admin.add(NewClient("new", "long enough\x00\x00\x00\x00")), "secret is invalid"),
        (lambda admin: admin.change("shop", ClientChange(channels=("a..b",))), "a..b"),
        (lambda admin: admin.change("shop", ClientChange(channels=("a",) * 1001)), "1001 patterns"),
        (lambda admin: admin.change("shop", ClientChange(note="x" * 501)), "note"),
        (lambda admin: admin.change("shop", ClientChange(max_connections=0)), "expected 1 to 100"),
        (lambda admin: admin.add(NewClient("new", max_connections=101)), "expected 1 to 100"),
        (lambda admin: admin.add(NewClient("new", note="a\0b")), "NUL"),
        (lambda admin: admin.add(NewClient("new", channels=("a..b",))), "a..b"),
    ],
    ids=[
        "negative",
        "nan",
        "long",
        "short",
        "empty",
        "name",
        "control",
        "pattern",
        "patterns",
        "note",
        "none",
        "many",
        "nul",
        "new",
    ],
)
async def test_what_is_invalid_changes_nothing(
    admin: ClientAdmin, work: Callable[[ClientAdmin], Awaitable[Any]], said: str
) -> None:
    await admin.add(NewClient("shop"))
    before = await admin.page()
    with pytest.raises(Malformed, match=said):
        await work(admin)
    assert await admin.page() == before
