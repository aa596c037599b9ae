from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.errors import Malformed
from shared.settings import Checked, FileSecret, FollowedSecret, Options, RelativePath, Secret


class Account(Options):
    password: Secret
    folder: RelativePath = Path("here")


def account(password: object, folder: Path | None = None) -> Account:
    return Account.model_validate({"password": password}, context={"folder": folder})


def test_a_secret_is_text_that_is_not_shown() -> None:
    found = account("hunter2")
    assert found.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(found)


def test_a_secret_is_read_from_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    assert account({"file": "password"}, tmp_path).password.get_secret_value() == "hunter2"
    assert account({"file": str(tmp_path / "password")}).password.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "the secret is empty"),
        ({"file": "absent"}, "cannot be read: No such file"),
        ({"file": "a\0b"}, "cannot be read: no valid path"),
        ({"file": "x" * 5000}, "cannot be read: File name too long"),
        ({"file": "."}, "cannot be read: Is a directory"),
        ({"file": "binary"}, "is not UTF-8"),
        ({"file": "large"}, "is larger than"),
        ({"file": "blank"}, "the secret is empty"),
        ({"file": 1}, "expected text, "),
        ({"path": "x"}, "expected text, "),
    ],
)
def test_a_secret_that_cannot_be_read_names_the_reason(value: object, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    (tmp_path / "blank").write_bytes(b"\n")
    with pytest.raises(ValidationError, match=sentence):
        account(value, tmp_path)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    class Drop(BaseModel):
        folder: RelativePath

    context = {"folder": tmp_path}
    assert Drop.model_validate({"folder": "inbox"}, context=context).folder == tmp_path / "inbox"
    assert Drop.model_validate({"folder": "/data"}, context=context).folder == Path("/data")
    assert Drop(folder=Path("inbox")).folder == Path("inbox")


def test_options_refuse_unknown_keys_and_are_immutable() -> None:
    with pytest.raises(ValidationError):
        Account.model_validate({"password": "x", "other": 1})
    with pytest.raises(ValidationError):
        account("x").folder = Path("there")  # type: ignore[misc]


class Timeouts(Options):
    connect: float = 1.0
    read: float = 2.0


class Listen(Options):
    host: str = "127.0.0.1"
    port: int = 8080
    timeouts: Timeouts = Timeouts()


class Service(Options):
    listen: Listen = Listen(port=8081, timeouts=Timeouts(read=5.0))
    other: Listen | None = Listen(port=1)


def test_a_part_keeps_the_defaults_of_its_place() -> None:
    assert Service.model_validate({}).listen.port == 8081
    found = Service.model_validate({"listen": {"host": "::1", "timeouts": {"connect": 9}}}).listen
    assert (found.host, found.port) == ("::1", 8081)
    assert (found.timeouts.connect, found.timeouts.read) == (9.0, 5.0)
    assert Service(listen=Listen(host="::1")).listen.port == 8080


def test_alternatives_do_not_inherit_a_default() -> None:
    assert Service.model_validate({"other": {"host": "::1"}}).other == Listen(host="::1")


def test_a_fault_in_a_part_is_still_found() -> None:
    with pytest.raises(ValidationError, match="hots"):
        Service.model_validate({"listen": {"hots": "::1"}})
    with pytest.raises(ValidationError, match="listen"):
        Service.model_validate({"listen": 5})


class Followed(Options):
    password: FollowedSecret


def test_a_followed_secret_is_read_again_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("one\n")
    found = Followed.model_validate({"password": {"file": "password"}}, context={"folder": tmp_path}).password
    assert isinstance(found, FileSecret)
    assert found.get_secret_value() == "one"
    path.write_text("two\n")
    assert found.read() == "two"
    path.write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        found.read()
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        found.read()


def test_a_followed_secret_in_the_settings_is_text() -> None:
    found = Followed.model_validate({"password": "one"})
    assert not isinstance(found.password, FileSecret)
    assert found.password.get_secret_value() == "one"


def test_settings_with_another_secret_in_the_same_file_are_the_same(tmp_path: Path) -> None:
    """So a reload does not ask for a restart."""
    found = []
    for content in ("one", "two"):
        (tmp_path / "password").write_text(content)
        found.append(Followed.model_validate({"password": {"file": str(tmp_path / "password")}}))
    first, second = found
    assert first == second
    assert len({first.password, second.password}) == 1
    assert first != Followed.model_validate({"password": "one"})
    assert Followed.model_validate({"password": "one"}) != first


def test_a_function_checks_text_and_its_pattern_is_known() -> None:
    def no_dash(text: str) -> str:
        if "-" in text:
            raise Malformed(f"found {text!r}; expected no dash")
        return text

    checked = TypeAdapter(Annotated[str, Checked(no_dash, "^[^-]*$", 9)])
    assert checked.validate_python("a.b") == "a.b"
    with pytest.raises(ValidationError, match="found 'a-b'; expected no dash"):
        checked.validate_python("a-b")
    assert checked.json_schema() == {"type": "string", "pattern": "^[^-]*$", "maxLength": 9}
