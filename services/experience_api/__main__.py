"""Run this service alone: `python -m services.experience_api --config trelay.yaml`."""

import sys

from services.experience_api.app import build_experience_api
from services.experience_api.settings import ExperienceSettings
from shared.runtime.run import run_service

if __name__ == "__main__":
    sys.exit(run_service("experience_api", ExperienceSettings, build_experience_api))
