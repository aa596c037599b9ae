"""The replica of the suite, see `services.system_api.contract`."""

from services.system_api.contract.replica import SOURCE

__all__ = ["SOURCE"]
