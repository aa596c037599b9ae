"""What a reviewer would say twice about where code lives and what files are called."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("services", "shared", "clients/python")
MIRRORS = ("unit", "contracts", "integration")
SERVICES = ("system_api", "process_api", "experience_api")

LONGEST = 300
FULLEST = 16
"""Modules in one folder, `__init__` and `__main__` apart."""
NO_IO = re.compile(r"\b(Does no|No|Sans-)\s?I/O\b")
SENTENCE = re.compile(r"[A-Z][^.]+(?:\.\w[^.]*)*\.(?:\s|$)")
"""A docstring begins with one, and a file name may stand in it."""
VAGUE = {"base", "common", "core", "handler", "handlers", "helper", "helpers", "manager", "misc", "util", "utils"}

WITHOUT_MIRROR = {
    "shared/database/migrations": "Alembic runs them; test_migrations goes up and down through them all",
}

COMPOSITION_ROOTS = (
    "services/cli",
    "services/standalone/one_process.py",
    "services/standalone/three_processes.py",
    "services/standalone/composed.py",
    "services/standalone/settings.py",
)
"""The only places that may know more than one service."""

TASKS = "shared/runtime/tasks.py"
CLIENT_TASKS = "clients/python/trelay_client/tasks.py"
"""The modules that create tasks, of the services and of the client library.

ruff bans `asyncio.create_task`; the same on a loop is found here."""


def test_every_module_is_named_sized_tested_and_placed() -> None:
    found = [*faults(ROOT), *length_faults(ROOT), *package_faults(ROOT)]
    assert not found, "\n".join(found)


def faults(root: Path) -> Iterator[str]:
    """Name everything that is wrong below `root`."""
    tests = {
        path.relative_to(root / "tests") for kind in MIRRORS for path in (root / "tests" / kind).rglob("test_*.py")
    }
    for source in SOURCES:
        for path in sorted((root / source).rglob("*.py")):
            module = path.relative_to(root)
            text = path.read_text()
            tree = ast.parse(text)
            if VAGUE & {module.stem, *module.parts[:-1]}:
                yield f"{module}: name it for what it holds"
            if not _known_untested(module) and holds_code(tree) and not has_mirror(module, tests):
                yield f"{module}: no test_{module.stem}*.py under {', '.join(f'tests/{kind}' for kind in MIRRORS)}"
            if module.as_posix() not in {TASKS, CLIENT_TASKS}:
                yield from (f"{module}:{line}: start it through {TASKS}" for line in tasks_created(tree))
            if not module.as_posix().startswith(COMPOSITION_ROOTS):
                yield from (f"{module}: imports {name}" for name in foreign_services(module, tree))


def length_faults(root: Path) -> Iterator[str]:
    """Name the modules below `root` that are too long, tests and benchmarks among them."""
    for source in (*SOURCES, "tests", "benchmarks"):
        for path in sorted((root / source).rglob("*.py")):
            if len(path.read_text().splitlines()) > LONGEST:
                yield f"{path.relative_to(root)}: longer than {LONGEST} lines, split it"


def package_faults(root: Path) -> Iterator[str]:
    """Name the packages below `root` that do not say what lives in them, and the folders that hold too much."""
    folders = {path.parent for source in SOURCES for path in (root / source).rglob("*.py")}
    for folder in sorted(folders):
        package = folder.relative_to(root)
        init = folder / "__init__.py"
        docstring = ast.get_docstring(ast.parse(init.read_text())) if init.exists() else None
        if docstring is None or not SENTENCE.match(docstring):
            yield f"{package}: no sentence at the start of the docstring of __init__.py, say what lives here"
        modules = [path for path in folder.glob("*.py") if not path.stem.startswith("__")]
        if len(modules) > FULLEST:
            yield f"{package}: {len(modules)} modules, more than {FULLEST}: split it"


def _known_untested(module: Path) -> bool:
    return module.stem.startswith("__") or module.as_posix().startswith(tuple(WITHOUT_MIRROR))


def holds_code(tree: ast.Module) -> bool:
    """Whether any function does something; protocols, settings and constants are tested by their users."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(not _is_declaration(statement) for function in functions for statement in function.body)


def _is_declaration(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def has_mirror(module: Path, tests: set[Path]) -> bool:
    """Whether a test module stands for this one, or for the package inside a package that it belongs to.

    `shared/bus/memory/log.py` is mirrored by `bus/test_log.py` or `bus/memory/test_log_order.py`, and by
    `bus/test_memory.py`, below any kind of tests; leading folders may be left out, all but one.
    """
    *folders, _ = module.parts
    stands_for = [(tuple(folders), module.stem)]
    stands_for += [(tuple(folders[:depth]), folders[depth]) for depth in range(2, len(folders))]
    for test in tests:
        _, *places, name = test.parts
        for parents, stem in stands_for:
            named = name == f"test_{stem}.py" or name.startswith(f"test_{stem}_")
            if named and places and parents[-len(places) :] == tuple(places):
                return True
    return False


def tasks_created(tree: ast.Module) -> Iterator[int]:
    """The lines that create a task on an event loop; a `TaskGroup` awaits its own tasks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create_task":
            owner = node.func.value
            name = owner.func if isinstance(owner, ast.Call) else owner
            text = name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")
            if text.endswith("loop"):
                yield node.lineno


def foreign_services(module: Path, tree: ast.Module) -> Iterator[str]:
    """The services that a module imports without being part of them."""
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and node.module == "services":
            names = [f"services.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            service = rest.partition(".")[0]
            if first == "services" and service in SERVICES and module.parts[:2] != (first, service):
                yield name


def test_a_module_that_claims_to_do_no_io_is_in_a_contract() -> None:
    """So that the contract checks its imports and, if it is one of `sans-io*`, `make coverage` its branches."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    pure = [
        name for each in contracts if "asyncio" in each.get("forbidden_modules", ()) for name in each["source_modules"]
    ]
    claiming = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for source in ("services", "shared")
        for path in sorted((ROOT / source).rglob("*.py"))
        if NO_IO.search(ast.get_docstring(ast.parse(path.read_text())) or "")
    ]
    assert len(claiming) > 10
    assert [name for name in claiming if not any(f"{name}.".startswith(f"{each}.") for each in pure)] == []


def test_the_paths_that_pyproject_names_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    paths = [*project["tool"]["ruff"]["lint"]["per-file-ignores"], *project["tool"]["mypy"]["files"]]
    assert [path for path in paths if not any(ROOT.glob(path))] == []


def test_the_folders_that_the_readme_of_the_tests_names_exist() -> None:
    named = re.findall(r"`([a-z]+/)`", (ROOT / "tests" / "README.md").read_text())
    assert "unit/" in named
    assert [name for name in named if not (ROOT / "tests" / name).is_dir()] == []


class TestRules:
    """Each rule sees what it is there for."""

    CODE = "def answer():\n    return 42\n"

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """A tree without faults: one tested module."""
        write(tmp_path / "shared" / "clock.py", self.CODE)
        write(tmp_path / "tests" / "unit" / "shared" / "test_clock.py", "")
        assert list(faults(tmp_path)) == []
        return tmp_path

    def test_vague_names(self, tree: Path) -> None:
        write(tree / "shared" / "utils.py", "")
        write(tree / "services" / "helpers" / "names.py", "")
        assert [fault.partition(":")[0] for fault in faults(tree)] == ["services/helpers/names.py", "shared/utils.py"]

    def test_long_modules(self, tree: Path) -> None:
        write(tree / "shared" / "words.py", "word = 1\n" * LONGEST)
        assert list(length_faults(tree)) == []
        for module in ("shared/words.py", "tests/unit/shared/test_clock.py"):
            write(tree / module, "word = 1\n" * (LONGEST + 1))
        assert list(length_faults(tree)) == [
            f"{module}: longer than 300 lines, split it"
            for module in ("shared/words.py", "tests/unit/shared/test_clock.py")
        ]

    def test_modules_without_tests(self, tree: Path) -> None:
        write(tree / "shared" / "lease.py", self.CODE)
        (fault,) = faults(tree)
        assert fault.startswith("shared/lease.py: no test_lease*.py under tests/unit")

    @pytest.mark.parametrize(
        "test",
        [
            "unit/shared/bus/memory/test_log.py",
            "contracts/bus/memory/test_log_order.py",
            "contracts/bus/test_memory.py",
        ],
    )
    def test_what_counts_as_a_test(self, tree: Path, test: str) -> None:
        write(tree / "shared" / "bus" / "memory" / "log.py", self.CODE)
        write(tree / "tests" / test, "")
        assert list(faults(tree)) == []

    @pytest.mark.parametrize(
        "test",
        ["unit/shared/test_log.py", "unit/test_log.py", "unit/shared/test_bus.py", "unit/shared/bus/test_logs.py"],
    )
    def test_what_does_not(self, tree: Path, test: str) -> None:
        write(tree / "shared" / "bus" / "memory" / "log.py", self.CODE)
        write(tree / "tests" / test, "")
        assert len(list(faults(tree))) == 1

    def test_declarations_need_no_tests(self, tree: Path) -> None:
        write(
            tree / "shared" / "seam.py", 'class Seam:\n    def send(self) -> None:\n        """Send."""\n        ...\n'
        )
        assert list(faults(tree)) == []

    @pytest.mark.parametrize(
        ("module", "statement"),
        [
            ("services/process_api/flow.py", "from services.system_api.sources.source import Source"),
            ("services/standalone/embedded/kafka.py", "import services.system_api"),
            ("shared/bus.py", "from services import experience_api"),
        ],
    )
    def test_services_are_known_to_composition_roots_alone(self, tree: Path, module: str, statement: str) -> None:
        write(tree / module, statement)
        write(tree / "services" / "standalone" / "one_process.py", statement)
        (fault,) = faults(tree)
        assert fault.startswith(f"{module}: imports services.")

    @pytest.mark.parametrize(
        "statement",
        [
            "asyncio.get_running_loop().create_task(work())",
            "get_event_loop().create_task(work())",
            "loop.create_task(work(), name='work')",
            "self._loop.create_task(work())",
        ],
    )
    def test_tasks_that_nothing_awaits(self, tree: Path, statement: str) -> None:
        write(tree / "shared" / "clock.py", f"{self.CODE}{statement}\n")
        assert list(faults(tree)) == ["shared/clock.py:3: start it through shared/runtime/tasks.py"]
        write(tree / "shared" / "clock.py", f"{self.CODE}group.create_task(work())\n")
        assert list(faults(tree)) == []

    def test_packages_say_what_lives_in_them(self, tmp_path: Path) -> None:
        write(
            tmp_path / "shared" / "__init__.py", '"""What lives here: see docs/kafka.md, for example. And so on."""\n'
        )
        assert list(package_faults(tmp_path)) == []
        write(tmp_path / "shared" / "alerts" / "__init__.py", '"""Alerts"""\n')
        write(tmp_path / "shared" / "bus" / "__init__.py", "")
        write(tmp_path / "shared" / "lease" / "store.py", self.CODE)
        assert list(package_faults(tmp_path)) == [
            f"shared/{name}: no sentence at the start of the docstring of __init__.py, say what lives here"
            for name in ("alerts", "bus", "lease")
        ]

    def test_folders_that_hold_too_much(self, tmp_path: Path) -> None:
        write(tmp_path / "shared" / "__init__.py", '"""What lives here."""\n')
        for number in range(FULLEST):
            write(tmp_path / "shared" / f"module{number}.py", "")
        write(tmp_path / "shared" / "__main__.py", "")
        assert list(package_faults(tmp_path)) == []
        write(tmp_path / "shared" / "another.py", "")
        assert list(package_faults(tmp_path)) == ["shared: 17 modules, more than 16: split it"]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
