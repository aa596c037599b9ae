"""The system layer: sources, the poller that runs each, and their checkpoints."""
