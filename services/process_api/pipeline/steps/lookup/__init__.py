"""Look-ups in databases, at HTTP APIs and in files, for all events of a batch at once: the step `enrich`."""
