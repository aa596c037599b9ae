from pathlib import Path

import jwt
import pytest

from services.experience_api.auth.signing import Signing
from services.experience_api.auth.tokens import KeyOptions, TokenOptions, Tokens
from services.experience_api.refusals import Refused
from services.experience_api.registry.memory import MemoryRegistry
from shared.errors import SettingsError
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SystemClock


class Clock(SystemClock):
    at = 1_700_000_000.0

    def time(self) -> float:
        return self.at


def kid(tokens: Tokens, clock: Clock) -> str:
    """Return the id of the key that signs now."""
    return str(jwt.get_unverified_header(tokens.issue("demo", clock.time()).token)["kid"])


def key(name: str) -> dict[str, str]:
    return {"id": name, "secret": name * 20}


async def made(options: dict[str, object], clock: Clock) -> tuple[Signing, Tokens]:
    signing = await Signing.loaded(TokenOptions.model_validate(options), clock)
    return signing, await signing.tokens(MemoryRegistry(MemoryLeaseStore(clock), clock))


async def reloaded(signing: Signing, *names: str) -> None:
    """Do what SIGHUP does when the keys in the settings have changed."""
    apply = await signing.section.prepare(tuple(KeyOptions.model_validate(key(name)) for name in names))
    apply()


async def test_keys_of_the_settings_rotate_without_a_refused_token() -> None:
    clock = Clock()
    signing, tokens = await made({"keys": [key("k1")], "sign_after": 60}, clock)
    first = tokens.issue("demo", clock.time())
    await reloaded(signing, "k2", "k1")
    assert kid(tokens, clock) == "k1"
    clock.at += 60
    assert kid(tokens, clock) == "k2"
    assert tokens.read(first.token) == first.claims
    await reloaded(signing, "k2")
    with pytest.raises(Refused):
        tokens.read(first.token)


async def test_the_section_is_the_one_of_the_keys_and_needs_a_key() -> None:
    signing, _ = await made({"keys": [key("k1")]}, Clock())
    assert signing.section.name == "experience.tokens.keys"
    with pytest.raises(SettingsError, match="by a restart"):
        await reloaded(signing)
    assert await signing.reload() == []
    await signing.follow()  # returns: there is no folder


async def test_keys_of_a_folder_rotate_as_well(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "k1").write_text("a" * 32)
    signing, tokens = await made({"key_folder": tmp_path, "sign_after": 0}, clock)
    first = tokens.issue("demo", clock.time())
    (tmp_path / "k2").write_text("b" * 32)
    assert await signing.reload() == [f"signing keys {tmp_path}"]
    assert kid(tokens, clock) == "k2"
    assert tokens.read(first.token) == first.claims
    (tmp_path / "k1").unlink()
    await signing.reload()
    with pytest.raises(Refused):
        tokens.read(first.token)


async def test_without_keys_the_stored_one_signs() -> None:
    clock = Clock()
    _, tokens = await made({}, clock)
    issued = tokens.issue("demo", clock.time())
    assert tokens.read(issued.token) == issued.claims
