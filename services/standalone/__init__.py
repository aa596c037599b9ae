"""Runs all of Trelay on one machine, in one process or three, with its own servers and example sources."""
