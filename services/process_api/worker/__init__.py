"""Consume, transform, produce: reads records, runs the pipelines on them and publishes the results, exactly once."""
