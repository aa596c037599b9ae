"""The metrics of one replica, as its `/metrics` shows them. No I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from shared.errors import Malformed


@dataclass(frozen=True, slots=True)
class Sample:
    """One series and its value."""

    name: str
    labels: Mapping[str, str]
    value: float


class Samples:
    """All series of a replica."""

    def __init__(self, text: str) -> None:
        """Read the text format of Prometheus.

        Raises:
            Malformed: it is something else.
        """
        try:
            self._all = [
                Sample(sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            ]
        except ValueError as exc:
            raise Malformed(f"expected metrics of Prometheus: {exc}") from exc

    def of(self, name: str) -> Iterator[Sample]:
        """Yield the series of a name."""
        return (sample for sample in self._all if sample.name == name)

    def total(self, name: str) -> float:
        """Return the sum of the series of a name; 0 if there is none."""
        return sum(sample.value for sample in self.of(name))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums of the series of a name by the value of a label."""
        sums: dict[str, float] = {}
        for sample in self.of(name):
            key = sample.labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + sample.value
        return sums

    def label(self, name: str, label: str) -> str:
        """Return the value of a label of the first series of a name; empty if there is none."""
        return next((sample.labels.get(label, "") for sample in self.of(name)), "")
