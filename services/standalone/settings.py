"""The whole settings file: the sections of all three services."""

from services.experience_api.settings import ExperienceOptions
from services.process_api.settings import ProcessOptions
from services.system_api.settings import SystemOptions
from shared.composition.settings import SharedSettings
from shared.runtime.logs import LogOptions


class WholeSettings(SharedSettings):
    """All sections of the file. One that is absent has its defaults."""

    system: SystemOptions = SystemOptions()
    """The system layer: sources."""

    process: ProcessOptions = ProcessOptions()
    """The process layer: pipelines."""

    experience: ExperienceOptions = ExperienceOptions()
    """The experience layer: subscribers."""


class StandaloneSettings(WholeSettings):
    """The same file for one process at a terminal."""

    logs: LogOptions = LogOptions(format="text", level="warning")
    """The log of the process."""
