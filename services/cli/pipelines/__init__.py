"""Tries pipelines (`trelay eval`, `test` and `preview`), and controls those that run (`trelay pipelines`)."""
