"""Fixtures of this folder."""

from tests.integration.services.system_api.service import programs

__all__ = ["programs"]
