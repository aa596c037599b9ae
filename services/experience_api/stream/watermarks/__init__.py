"""Watermarks: tells subscribers up to when sources have been read."""
