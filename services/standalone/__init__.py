"""Runs all of Trelay on one machine, in one process or in three, with servers and example sources of its own."""
