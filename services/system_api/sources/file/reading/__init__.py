"""Reads files that grow or are dropped into a folder, and keeps how far each one was read."""
