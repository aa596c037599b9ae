"""Shadows: new versions of pipelines, which run beside the old ones in a process of their own, and are compared."""
