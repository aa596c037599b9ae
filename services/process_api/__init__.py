"""The process layer: pipelines of steps, and the worker that runs them from the ingest topic to the publish topic."""
