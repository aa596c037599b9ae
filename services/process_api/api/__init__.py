"""Describes the endpoints of the process layer: OpenAPI."""
