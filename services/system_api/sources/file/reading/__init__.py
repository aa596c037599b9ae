"""Reads files that grow or are dropped into a folder, and keeps the position in each one."""
