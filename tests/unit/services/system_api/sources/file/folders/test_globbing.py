"""Globs: what they find, and what they match."""

import glob
from pathlib import Path

import pytest

from services.system_api.sources.file.folders.globbing import Glob


def expand(pattern: str) -> list[str]:
    found = Glob(pattern)
    return [path for folder in found.folders() for path in found.files(folder)]


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
    everything = [str(path) for path in tree.rglob("*") if path.is_file()]
    assert {path for path in everything if Glob(str(tree / pattern)).matches(path)} == expected


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


@pytest.mark.parametrize(
    ("pattern", "folder", "recursive", "wildcards"),
    [
        ("/a/b/*.x", "/a/b", False, True),
        ("/a/b/c.x", "/a/b", False, False),
        ("/a/*/c/x", "/a", True, True),
        ("/a/**/x", "/a", True, True),
        ("/a/**", "/a", True, True),
        ("/*.x", "/", False, True),
        ("a.x", ".", False, False),
        ("*", ".", False, True),
        ("/a/[bc]/x", "/a", True, True),
        ("/a[[]1]/[?]/b[*].x", "/a[1]/?", False, False),
    ],
)
def test_the_folder_is_the_deepest_without_a_wildcard(
    pattern: str, folder: str, recursive: bool, wildcards: bool
) -> None:
    found = Glob(pattern)
    assert (found.folder, found.recursive, found.has_wildcards) == (folder, recursive, wildcards)


@pytest.mark.parametrize("name", ["a[1].x", "*.x", "a\nb.x", "?", "[", "é ü.x", "\udcff.x", "[!a].x"])
def test_names_with_any_character_are_found(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"in {name}"
    folder.mkdir()
    (folder / name).touch()
    (folder / "a1").touch()
    path = str(folder / name)
    for pattern in (f"{glob.escape(str(folder))}/*", glob.escape(path), f"{tmp_path}/*/*", f"{tmp_path}/**"):
        assert path in expand(pattern)
        assert Glob(pattern).matches(path)
    assert expand(glob.escape(path)) == [path]


def test_relative_and_root_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.x").touch()
    monkeypatch.chdir(tmp_path)
    assert expand("*.x") == ["a.x"]
    assert expand("a.x") == ["a.x"]
    assert expand("b.x") == []
    assert Glob("*.x").matches("a.x")
    assert "/etc" in expand("/et*")
    assert Glob("/et*").matches("/etc")
    assert not Glob("/a/*").matches("/b/c")
