"""Pipelines: an event as a draft, the paths into it, the steps that change it, and the check of settings."""
