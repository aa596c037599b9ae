"""Tries pipelines and expressions on sample events, without a bus: `trelay eval` and `trelay test`."""
