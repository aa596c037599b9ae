import asyncio
from pathlib import Path

import pytest

from services.cli import main


async def test_an_empty_database_gets_its_tables_and_another_time_changes_nothing(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "trelay.yaml"
    config.write_text(f"database:\n  url: {database}\nsystem: {{of: no concern}}\n")
    said = set()
    for _ in range(2):
        assert await asyncio.to_thread(main, ["migrate", "--config", str(config)]) == 0
        said.add(capsys.readouterr().out)
    (sentence,) = said
    assert " is at revision " in sentence
