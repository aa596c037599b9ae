"""Lets plain functions wait on the event loop, for a process or for their turn."""
