"""Serves subscribers that are not live: those that resume, those that read slowly, and those with conflation."""
