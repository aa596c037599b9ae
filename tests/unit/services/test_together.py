"""The three services in one process: what the settings say of it."""

from pathlib import Path

from services.showcase import EXAMPLES
from services.together import Together, TogetherSettings
from shared.database.options import DatabaseOptions
from shared.settings import load, parse

DATABASE = DatabaseOptions(url="postgresql://trelay@127.0.0.1/trelay")


def test_the_examples_are_good_settings(tmp_path: Path) -> None:
    settings = load(EXAMPLES / "trelay.yaml", TogetherSettings, {"TRELAY_DATABASE_URL": DATABASE.url})
    assert set(settings.system.sources) == {"sensors", "stock", "orders"}
    assert set(settings.process.pipelines) == {"orders"}
    assert settings.database is None


def test_only_subscribers_have_an_address_that_is_chosen() -> None:
    together = Together(TogetherSettings(), DATABASE, 8080)
    assert together._experience.experience.listen.port == 8080
    assert together._system.system.listen.port == 0
    assert together._process.process.listen.port == 0


def test_an_address_that_the_settings_choose_stands() -> None:
    settings = parse("system: {listen: {port: 9001}}", TogetherSettings, {})
    assert Together(settings, DATABASE, 8080)._system.system.listen.port == 9001


def test_a_restart_is_the_same_replica_so_that_nothing_waits_for_a_lease() -> None:
    together = Together(TogetherSettings(), DATABASE, 8080)
    names = {
        together._experience.experience.connections.node,
        together._process.process.node,
        together._system.system.node,
    }
    assert names == {"standalone"}
