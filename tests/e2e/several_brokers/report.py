"""What a run on several brokers prints and keeps."""

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.standalone.embedded.kafka import KafkaServer
from services.standalone.embedded.postgres import PostgresServer
from tests.e2e.programs import Program
from tests.e2e.several_brokers.actions import ActionLog, described, longest_silence, silence_after
from tests.e2e.several_brokers.roaming import RoamingSubscriber

_TRACEBACK = "Traceback (most recent call last)"
_STAMP = re.compile(r"^[0-9-]{10}T\S+ ")
_SHOWN = 5


@dataclass
class Report:
    """Figures, the log of actions, and the logs of all processes."""

    log: ActionLog
    subscribers: Sequence[RoamingSubscriber]
    programs: Sequence[Program]
    folder: Path
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Events by source and hop."""
    answers: Mapping[str, int] = field(default_factory=dict)
    """How often the API that a pipeline asks answered in each way."""
    rolling: tuple[float, float] | None = None
    """When all brokers were restarted, one after the other."""

    def unexpected_errors(self) -> list[str]:
        """Return what the services have logged with a traceback: no outage explains these, they are bugs."""
        faults = []
        for program in self.programs:
            found = tracebacks(program.log.read_text(errors="replace").splitlines())
            for message, count in Counter(found).most_common(_SHOWN):
                faults.append(f"{program.name} logged {count} times, with a traceback: {message}")
        return faults

    def keep(self, brokers: Sequence[KafkaServer], postgres: PostgresServer) -> None:
        """Copy the servers' logs beside those of the services."""
        for number, broker in enumerate(brokers, start=1):
            shutil.copyfile(broker.log, self.folder / f"broker-{number}.log")
        shutil.copyfile(postgres.log, self.folder / "postgresql.log")
        (self.folder / "actions.log").write_text("\n".join(self.log.lines) + "\n")

    def show(self, seed: int, seconds: float, faults: Sequence[str]) -> None:
        """Print everything; the log of actions only where something went wrong."""
        if faults:
            print("\n".join(["actions:", *self.log.lines]))
        print(f"== several brokers: seed {seed}, {seconds:g} s")
        for line in self._figures():
            print(f"   {line}")
        print(f"   faults: {len(faults)}")
        for fault in faults:
            print(f"   - {fault}")
        for line in self._repeated():
            print(f"     {line}")
        print("== end")

    def _figures(self) -> Iterator[str]:
        yield ", ".join(f"{count} {kind}" for kind, count in self.log.counts().items())
        yield f"starts: {', '.join(f'{program.name} {program.starts}' for program in self.programs)}"
        for source, hops in self.counts.items():
            yield f"events of {source}: {', '.join(f'{hop} {count}' for hop, count in hops.items())}"
        yield f"answers of the API: {', '.join(f'{kind} {count}' for kind, count in self.answers.items())}"
        for subscriber in self.subscribers:
            yield f"{subscriber.client_id}: {subscriber.count} events over {subscriber.connections} connections"
        for phase in ("everything", "brokers alone"):
            for kind in ("kill", "pause"):
                yield f"{phase}, without events after the {kind} of a broker: {described(self._silences(phase, kind))}"
        if self.rolling is not None:
            longest = [longest_silence(*self.rolling, subscriber.arrived_at) for subscriber in self.subscribers]
            took = self.rolling[1] - self.rolling[0]
            yield f"rolling restart of all brokers: {took:.1f} s, longest without events {max(longest):.2f} s"

    def _silences(self, phase: str, kind: str) -> list[float]:
        moments = self.log.times(phase, "broker", kind)
        return [silence_after(at, subscriber.arrived_at) for subscriber in self.subscribers for at in moments]

    def _repeated(self) -> Iterator[str]:
        """Describe some events that arrived twice, with the seconds of the run."""
        for subscriber in self.subscribers:
            for before, again in subscriber.repeated()[:_SHOWN]:
                moments = f"{before.at - self.log.began:.2f} and {again.at - self.log.began:.2f}"
                urls = f"{before.url} and {again.url}"
                yield f"{subscriber.client_id}: {before.source} {before.event} at {moments}, from {urls}"


def tracebacks(lines: Iterable[str]) -> Iterator[str]:
    """Yield the message of each log record with a traceback, once, without its time."""
    message: str | None = None
    for line in lines:
        if _STAMP.match(line):
            message = _STAMP.sub("", line)
        elif _TRACEBACK in line and message is not None:
            yield message
            message = None
