"""Consumes records, runs the pipelines on them and produces the results, in transactions."""
