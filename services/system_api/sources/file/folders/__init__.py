"""Folders: which files a glob finds, what changed, and where a file went."""
