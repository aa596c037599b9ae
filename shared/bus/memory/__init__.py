"""The bus in memory: for unit tests, with every promise of the protocol and no server."""

from shared.bus.memory.bus import MemoryBus

__all__ = ["MemoryBus"]
