"""What the suite needs of an upstream system, see `services.system_api.contract`."""

from services.system_api.contract import COMMON, Upstream, line, record, unchanged

__all__ = ["COMMON", "Upstream", "line", "record", "unchanged"]
