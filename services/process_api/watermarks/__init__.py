"""Watermarks: turns those of sources into those of channels, once all events below them are processed."""
