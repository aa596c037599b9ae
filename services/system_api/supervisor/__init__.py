"""Runs one source: polls it on a schedule, publishes what it read, and reports its status."""
