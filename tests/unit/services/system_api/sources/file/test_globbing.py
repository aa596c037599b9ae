"""Globs with `**`."""

import glob
from pathlib import Path

import pytest

from services.system_api.sources.file.globbing import expand


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.x", "b/a.x", "b/c/a.x", "b/c/b.y", "[d]/a.x", ".hidden/a.x", "b/.hidden/a.x", "b/.a.x"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "pattern",
    ["*.x", "*/*.x", "**/*.x", "**/c/*", "b/**/*.x", "*/**/a.x", "**", "**/**/*.x", "a.x", "no/**/*.x", "**/"],
)
def test_it_finds_the_files_that_python_finds(tree: Path, pattern: str) -> None:
    found = {path for path in expand(str(tree / pattern)) if Path(path).is_file()}
    expected = {path for path in glob.glob(str(tree / pattern), recursive=True) if Path(path).is_file()}  # noqa: PTH207
    assert found == expected


def test_links_to_a_parent_folder_are_not_followed_twice(tree: Path) -> None:
    for folder in (tree, tree / "b", tree / "b" / "c"):
        (folder / "up").symlink_to(tree)
        (folder / "here").symlink_to(folder)
        (folder / "itself").symlink_to(folder / "itself")
    found = [path for path in expand(str(tree / "**" / "*.x")) if Path(path).is_file()]
    assert len({Path(path).resolve() for path in found}) == len(found) == 4


def test_a_link_to_a_folder_outside_is_followed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("elsewhere")
    (outside / "z.x").write_text("")
    (tree / "b" / "link").symlink_to(outside)
    assert str(tree / "b" / "link" / "z.x") in set(expand(str(tree / "**" / "*.x")))
