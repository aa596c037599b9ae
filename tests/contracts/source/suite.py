"""The suite, which `services.system_api.contract` holds so that authors of other sources can run it as well."""

from services.system_api.contract import SourceContract

__all__ = ["SourceContract"]
