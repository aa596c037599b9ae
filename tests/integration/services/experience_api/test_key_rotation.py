"""Signing keys that rotate on two replicas, which learn of a change at different moments."""

from pathlib import Path

import jwt

from services.experience_api.auth.clients import add_client
from shared.runtime.clock import SystemClock
from tests.integration.services.experience_api.replicas import Deployment, Replica

SIGN_AFTER = 300.0


class Calendar(SystemClock):
    """A clock that can be moved forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def kid(replica: Replica) -> tuple[str, str]:
    """Register; return the id of the key that signed, and the token."""
    token = await replica.register()
    return str(jwt.get_unverified_header(token)["kid"]), token


async def accepted(replica: Replica, token: str) -> bool:
    return (await replica.request("POST", "/tickets", {"Authorization": f"Bearer {token}"})).status == 201


async def test_no_token_is_refused_while_keys_rotate(deployment: Deployment, tmp_path: Path) -> None:
    clock = Calendar()
    options = {"tokens": {"key_folder": str(tmp_path), "sign_after": SIGN_AFTER}}
    (tmp_path / "k1").write_text("1" * 40)
    async with deployment.replica(options, clock=clock) as one, deployment.replica(options, clock=clock) as other:
        secret = await add_client(one.registry, "shop")
        shop = await other.register("shop", secret)
        (tmp_path / "k2").write_text("2" * 40)
        assert await one.service.reload() == [f"signing keys {tmp_path}"]
        signed_by, token = await kid(one)
        assert signed_by == "k1"
        assert await accepted(other, token)  # which does not know the new key yet
        await other.service.reload()
        clock.ahead = SIGN_AFTER
        for replica in (one, other):
            assert await accepted(replica, token)
            assert await accepted(replica, shop)
        signed_by, new = await kid(one)
        assert signed_by == "k2"
        for replica in (one, other):
            assert await accepted(replica, new)
            assert await accepted(replica, shop)
            (tmp_path / "k1").unlink(missing_ok=True)
            await replica.service.reload()
            assert await accepted(replica, new)
            refused = await replica.upgrade(shop)
            assert (refused.status, refused.code) == (401, "token-refused")
