"""docs/architecture.md names what there is."""

import re
from pathlib import Path

import pytest

from tests.architecture import PAGE, ROOT, SOURCES, rows, written

_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/|(?:[\w.-]+/)+[\w.-]+\.\w+")
_MODULE = re.compile(r"(?:shared|services|tests|trelay_client)(?:\.\w+)+")
_HEADING = re.compile(r"^#+ .*?(?:\(`([^`]+/)`\))?$")


def paths(page: str) -> list[tuple[Path, Path]]:
    """Each path that the page names: relative to the folder in its heading, and to the project."""
    found, base = [], Path()
    for line in page.splitlines():
        heading = _HEADING.match(line)
        if heading is not None:
            base = Path(heading[1] or "")
        found += [(base / text, Path(text)) for text in _CODE.findall(line) if _PATH.fullmatch(text)]
    return found


def missing(page: str, root: Path) -> list[str]:
    """The paths of the page that are not in the project."""
    return [str(near) for near, far in paths(page) if not (root / near).exists() and not (root / far).exists()]


def test_every_path_exists() -> None:
    page = PAGE.read_text()
    assert missing(page, ROOT) == []
    assert len(paths(page)) > 50


def test_every_module_exists() -> None:
    for name in {text for text in _CODE.findall(PAGE.read_text()) if _MODULE.fullmatch(text)}:
        *folders, last = name.split(".")
        module = ROOT.joinpath(*folders)
        assert module.with_suffix(".py").exists() or (module / f"{last}.py").exists(), name


def test_the_table_of_folders_is_up_to_date() -> None:
    assert PAGE.read_text() == written(PAGE.read_text()), "run make docs"
    assert {folder.partition("/")[0] for folder, _ in rows()} == {source.partition("/")[0] for source in SOURCES}


@pytest.mark.parametrize(
    ("page", "absent"),
    [
        ("## Here (`shared/`)\n`runtime/tasks.py` and `runtime/missing.py`", ["shared/runtime/missing.py"]),
        ("## Here (`shared/`)\n## There\n`runtime/tasks.py`", ["runtime/tasks.py"]),
        ("`shared/runtime/`, `shared/nowhere/`, `POST /entity`, `kind`", ["shared/nowhere"]),
    ],
)
def test_a_path_that_is_gone_is_found(page: str, absent: list[str]) -> None:
    assert missing(page, ROOT) == absent
