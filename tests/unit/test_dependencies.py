"""What is imported, declared in pyproject.toml, locked and installed agrees, and none is older than we need."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]

# Below these, known faults of theirs become ours.
OLDEST = {
    "aiohttp": "3.14.5",
    "aiokafka": "0.14.0",
    "pydantic": "2.14",
    "sqlalchemy": "2.1",
}

OURS = {"trelay-client"}
"""Installed from this repository, and so in no lock."""

DISTRIBUTIONS = {("services", "shared"): "pyproject.toml", ("clients/python",): "clients/python/pyproject.toml"}
"""The folders of each distribution, and the file that declares what it requires."""

OUR_PACKAGES = {"services", "shared", "trelay", *OURS}

LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def asked() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    requirements = [Requirement(text) for group in groups for text in group]
    asked = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    return {name: requirement for name, requirement in asked.items() if name not in OURS}


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def locked(lock: str) -> dict[str, Version]:
    return {canonicalize_name(found["name"]): Version(found["version"]) for found in LOCKED.finditer(lock)}


@pytest.mark.parametrize(("name", "oldest"), OLDEST.items())
def test_none_is_older_than_we_need(
    name: str, oldest: str, asked: dict[str, Requirement], locked: dict[str, Version]
) -> None:
    assert asked[name].specifier.contains(oldest)
    assert not asked[name].specifier.contains(f"{oldest}.dev0", prereleases=True)
    assert locked[name] >= Version(oldest)
    assert Version(version(name)) >= Version(oldest)


def test_what_the_services_need_has_an_upper_bound(asked: dict[str, Requirement]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        for text in group:
            assert not Requirement(text).specifier.contains("9999"), text


@pytest.mark.parametrize("folders", DISTRIBUTIONS)
def test_every_import_is_declared(folders: tuple[str, ...]) -> None:
    """What only another package requires can be gone with the next release of that one."""
    project = declared(folders)
    optional = [text for group in project.get("optional-dependencies", {}).values() for text in group]
    assert imported(folders) - OUR_PACKAGES - names([*project["dependencies"], *optional]) == set()


@pytest.mark.parametrize("folders", DISTRIBUTIONS)
def test_every_required_package_is_imported(folders: tuple[str, ...]) -> None:
    assert names(declared(folders)["dependencies"]) - imported(folders) - OURS == set()


def declared(folders: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / DISTRIBUTIONS[folders]).read_text())["project"]
    return found


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def imported(folders: tuple[str, ...]) -> set[str]:
    """Name the distributions that the modules below some folders import."""
    modules = {name for folder in folders for path in (ROOT / folder).rglob("*.py") for name in _imports(path)}
    assert len(modules) > len(folders)
    providers = {**packages_distributions(), **{module: [name] for module, name in PORTIONS.items()}}
    foreign = modules - sys.stdlib_module_names
    return {canonicalize_name(each) for name in foreign for each in providers.get(name, [name])}


PORTIONS = {
    "opentelemetry": "opentelemetry-api",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.sdk": "opentelemetry-sdk",
}
"""The distributions of a namespace package, by the modules that they provide."""


def _provided(module: str) -> str:
    """Name the portion of a namespace package that has a module, or else its package."""
    package, _, rest = module.partition(".")
    portion = f"{package}.{rest.partition('.')[0]}"
    return portion if portion in PORTIONS else package


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (_provided(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield _provided(node.module)


def test_jsonata_is_the_one_release_that_was_checked(asked: dict[str, Requirement], locked: dict[str, Version]) -> None:
    assert str(asked["jsonatapy"].specifier) == "==2.2.13"
    assert str(locked["jsonatapy"]) == version("jsonatapy") == "2.2.13"


def test_every_requirement_is_locked_within_its_bounds(
    asked: dict[str, Requirement], locked: dict[str, Version]
) -> None:
    for name, requirement in asked.items():
        assert name in locked, f"{name} is not in requirements.lock: run make lock"
        assert requirement.specifier.contains(locked[name]), f"{name}: run make lock"


def test_every_requirement_is_installed_as_locked(asked: dict[str, Requirement], locked: dict[str, Version]) -> None:
    installed = {name: Version(version(name)) for name in asked}
    assert installed == {name: locked[name] for name in asked}


def test_only_hashes_decide_what_may_be_installed(lock: str, locked: dict[str, Version]) -> None:
    blocks = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    without = [block.split(" ")[0] for block in blocks if block.strip() and "--hash=sha256:" not in block]
    assert without == []
    assert len(locked) > len(OLDEST)


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_own_packages_are_required_and_not_locked(name: str, locked: dict[str, Version]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{name}=={project['version']}" in project["dependencies"]
    assert name not in locked
    assert version(name) == project["version"]
    library = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    assert library["version"] == project["version"]


def test_what_the_client_library_requires_is_locked(locked: dict[str, Version]) -> None:
    client = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, client["dependencies"]):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("place", ["://", "--index", "--find-links", "file:", " @ ", "\n/", "--trusted-host"])
def test_the_lock_names_no_place_of_the_machine_that_wrote_it(lock: str, place: str) -> None:
    assert place not in lock
