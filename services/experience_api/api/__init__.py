"""Describes the interface of the experience layer: OpenAPI for its endpoints, AsyncAPI for its stream and topics."""
