"""Which events run again without a replay: a rewind of their pipeline does it. No I/O."""

import re
from typing import NamedTuple

from services.process_api.dead_letters.letter import Letter
from services.process_api.operations.requests import Asked
from services.process_api.operations.starts import Cut, Starts, number_of
from services.process_api.pipeline.part import parse_part
from shared.events.dead_letter import origin_in

_REWINDS = re.compile(r"([0-9]{1,9}) (.+)")


class Rewound(NamedTuple):
    """The rewinds of a deployment."""

    asked: Asked
    topic: str
    """The ingest topic."""
    epoch: str
    """Of that topic."""

    def runs_again(self, letter: Letter) -> bool:
        """Return whether the pipeline that refused an event has run again on it since, or is about to.

        False where that is not known: the letter is of an older release, or of another topic of that name.
        """
        pipeline, known = letter.pipeline_name, _REWINDS.fullmatch(letter.rewinds)
        if known is None or known[2] != self.epoch or not letter.origin.startswith(f"{self.topic}/"):
            return False
        number, place = int(known[1]), origin_in(letter.origin)
        if letter.part is not None and not letter.edited:  # what was edited since, the first part does not make again
            part = parse_part(letter.part)
            number, place = part.generation, (part.partition, part.offset)
        return place is not None and any(
            starts.runs_again(pipeline, number, place) for starts in self._starts(pipeline, place[0])
        )

    def _starts(self, pipeline: str, partition: int) -> tuple[Starts, ...]:
        """Return the starts of a partition, and those with a rewind that it has not carried out."""
        starts, rewind = self.asked.starts(partition, self.epoch), self.asked.rewinds.get(pipeline)
        if rewind is None or rewind.epoch != self.epoch or starts.carried_out.get(pipeline) == rewind.id:
            return (starts,)
        return starts, Starts(self.epoch, cuts={pipeline: [Cut(number_of(rewind.id), rewind.to)]})
