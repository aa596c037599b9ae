"""The steps of a pipeline: one module each, with its settings, and the registry of their kinds."""
