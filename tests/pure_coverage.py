"""`make coverage`: every branch of the modules that do no I/O is run by their own unit tests.

The modules are those of the contracts `sans-io*` in pyproject.toml. Their unit tests run with few examples each: this
measures which branches they reach; `make test` tries more values. A line that cannot be reached is excluded by a
comment, `# pragma: no cover -- why`. Arguments restrict it to the modules whose names begin with one of them.
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = "trelay_client"


def modules() -> list[str]:
    """Return the names in the contracts."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return sorted(name for each in contracts if each["id"].startswith("sans-io") for name in each["source_modules"])


def files(module: str) -> Iterator[Path]:
    """Yield the files of a module or a package, relative to the project."""
    base = ROOT / "clients" / "python" if module.partition(".")[0] == LIBRARY else ROOT
    path = base.joinpath(*module.split("."))
    found = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    yield from (file.relative_to(ROOT) for file in found)


def tests(file: Path) -> Iterator[Path]:
    """Yield the unit tests of a file, relative to the project."""
    folder = ROOT / "tests" / "unit" / file.parent
    yield from (found.relative_to(ROOT) for found in sorted(folder.glob(f"test_{file.stem}*.py")))


def main() -> int:
    """Run the tests, print what they do not reach, and return 0 if that is nothing."""
    wanted = tuple(sys.argv[1:]) or ("",)
    measured = [file for module in modules() if module.startswith(wanted) for file in files(module)]
    if not measured:
        sys.exit(f"found no module that begins with {' or '.join(wanted)}; expected one of {', '.join(modules())}")
    chosen = dict.fromkeys(str(test) for file in measured for test in tests(file))
    measuring = coverage.Coverage(
        branch=True,
        data_file=None,
        include=[str(ROOT / file) for file in measured],
        config_file=False,
        concurrency=["greenlet", "thread"],  # greenlet: what `shared.suspension.greenlets` suspends
    )
    for unreachable in (r"case _:\n\s+assert_never\(.*\)", r"if __name__ == .__main__.:"):
        measuring.exclude(unreachable)
    with measuring.collect():
        # Coverage slows the state machines down; on a busy machine they would exceed the timeout of a test.
        options = ["-q", "-p", "no:cacheprovider", "--timeout=600", "--hypothesis-profile=coverage"]
        status = pytest.main([*options, *chosen])
    if status != pytest.ExitCode.OK:
        return int(status)
    total = measuring.report(show_missing=True, skip_covered=True, file=sys.stdout)
    return 0 if total == 100 else 1


if __name__ == "__main__":
    sys.exit(main())
