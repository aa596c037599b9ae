import pytest

from services.cli.status.exposition import Samples
from shared.errors import Malformed

TEXT = """\
# HELP a Something.
# TYPE a gauge
a{b="x",c="1"} 1
a{b="x",c="2"} 2
a{b="y",c="1"} 4
"""


def test_series_are_summed() -> None:
    samples = Samples(TEXT)
    assert samples.total("a") == 7
    assert samples.by("a", "b") == {"x": 3, "y": 4}
    assert samples.by("a", "d") == {"": 7}
    assert samples.label("a", "b") == "x"


def test_an_absent_series_is_nothing() -> None:
    samples = Samples("")
    assert (samples.total("a"), samples.by("a", "b"), samples.label("a", "b")) == (0, {}, "")


def test_other_text_is_malformed() -> None:
    with pytest.raises(Malformed, match="expected metrics of Prometheus"):
        Samples("<html>not metrics</html>")
