"""Describes the endpoints of the system layer: OpenAPI."""
