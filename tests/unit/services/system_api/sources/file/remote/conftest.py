"""The fixtures of these tests."""

from tests.unit.services.system_api.sources.file.remote.remote_files import folder

__all__ = ["folder"]
