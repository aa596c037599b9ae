"""The system layer: sources, the poller that drives each, and their checkpoints."""
