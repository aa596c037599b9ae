"""Run this service alone: `python -m services.system_api --config trelay.yaml`."""

import sys

from services.system_api.app import build_system_api
from services.system_api.settings import SystemSettings
from shared.runtime.run import run_service

if __name__ == "__main__":
    sys.exit(run_service("system_api", SystemSettings, build_system_api))
