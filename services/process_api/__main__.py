"""Run this service alone: `python -m services.process_api --config trelay.yaml`."""

import sys

from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from shared.runtime.run import run_service

if __name__ == "__main__":
    sys.exit(run_service("process_api", ProcessSettings, build_process_api))
