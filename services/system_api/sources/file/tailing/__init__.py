"""Follows files that grow, through rotation, truncation and deletion."""
