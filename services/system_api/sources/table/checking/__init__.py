"""Checks the settings of a table source that concern each other, and the text of a query."""
