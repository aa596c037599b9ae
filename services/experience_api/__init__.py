"""The experience layer: registration, admission, fan-out and resume."""
