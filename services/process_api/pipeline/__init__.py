"""Pipelines: events as drafts, paths into them, the steps that change them, and the check of their settings."""
