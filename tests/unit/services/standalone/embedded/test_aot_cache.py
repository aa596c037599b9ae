from pathlib import Path

import pytest

from services.standalone.embedded.aot_cache import aot_cache, java_options


def java_of(home: Path, release: str | None) -> Path:
    """Make the home of a Java, and return its program."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch()
    if release is not None:
        (home / "release").write_text(release)
    return java


@pytest.mark.parametrize("release", [None, "", 'JAVA_VERSION="17.0.15"\n', 'OTHER_VERSION="25"\nJAVA_VERSION="?"\n'])
def test_an_older_java_keeps_nothing(release: str | None, tmp_path: Path) -> None:
    java = java_of(tmp_path / "home", release)
    assert aot_cache(java, tmp_path) is None
    assert java_options(java, tmp_path) == []


def test_each_java_has_a_cache_of_its_own(tmp_path: Path) -> None:
    first = java_of(tmp_path / "a", 'IMPLEMENTOR="X"\nJAVA_VERSION="25.0.2"\n')
    second = java_of(tmp_path / "b", 'IMPLEMENTOR="X"\nJAVA_VERSION="26"\n')
    link = tmp_path / "java"
    link.symlink_to(first)
    assert aot_cache(first, tmp_path) != aot_cache(second, tmp_path)
    assert aot_cache(first, tmp_path) == aot_cache(link, tmp_path)


def test_a_cache_is_used_once_java_has_written_it(tmp_path: Path) -> None:
    java = java_of(tmp_path / "a", 'JAVA_VERSION="25"\n')
    cache = aot_cache(java, tmp_path)
    assert cache is not None
    assert java_options(java, tmp_path) == []
    cache.touch()
    assert java_options(java, tmp_path) == [], "Java wrote none"
    cache.write_bytes(b"x")
    assert java_options(java, tmp_path) == [f"-XX:AOTCache={cache}"]
