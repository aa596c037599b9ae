"""Tests of `services.process_api.watermarks`."""
