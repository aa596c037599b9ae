"""Tries pipelines: `trelay eval`, `trelay test` without a bus, `trelay preview` on the newest events of it."""
