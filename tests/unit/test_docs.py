"""What the pages show works as it stands."""

import re
from pathlib import Path

import pytest
import trustme

from services.cli import main

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = [
    (page.name, number, block)
    for page in sorted(DOCS.rglob("*.md"))
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
    if not block.startswith(("- ", "tests:"))  # a step alone, which the tests of the steps run, and examples for one
]


@pytest.mark.parametrize(("page", "number", "block"), BLOCKS, ids=[f"{page}-{number}" for page, number, _ in BLOCKS])
def test_settings_on_a_page_are_right_and_lead_somewhere(
    tmp_path: Path,
    page: str,
    number: int,
    block: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable in re.findall(r"\$\{([A-Z_]+)\}", block):
        monkeypatch.setenv(variable, "a secret that is long enough")
    _write_certificates(tmp_path)
    file = tmp_path / "trelay.yaml"
    file.write_text(block.replace("/etc/trelay/", f"{tmp_path}/"))
    assert main(["check", str(file)]) == 0, capsys.readouterr().err
    out, err = capsys.readouterr()
    expected = "url: mssql://" in block or "url: oracle://" in block
    # No test runs these databases, and `trelay check` says so.
    assert [line for line in err.splitlines() if "no test of Trelay runs on a real" not in line] == []
    assert (out, bool(err)) == (f"{file}: OK, 1 warning\n" if expected else f"{file}: OK\n", expected)


def _write_certificates(folder: Path) -> None:
    authority = trustme.CA()
    for name in ("ca.pem", "producers.pem"):
        authority.cert_pem.write_to_path(str(folder / name))
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    issued.private_key_pem.write_to_path(str(folder / "tls.key"))


def test_the_examples_on_the_page_of_pipelines_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *others = re.findall(r"```yaml\n(.*?)```", (DOCS / "pipelines.md").read_text(), re.DOTALL)
    # The other examples need pipelines of their own: tests/unit/services/cli/pipelines/test_testing.py runs them.
    (examples,) = [each for each in others if each.startswith("tests:") and not re.search("mocks:|tick:", each)]
    (tmp_path / "trelay.yaml").write_text(first)
    (tmp_path / "orders.test.yaml").write_text(examples)
    assert main(["test", "--config", str(tmp_path / "trelay.yaml")]) == 0
    assert capsys.readouterr().out.endswith("2 passed, 0 failed\n")


def test_there_are_pages_to_look_at() -> None:
    assert len(BLOCKS) >= 5
