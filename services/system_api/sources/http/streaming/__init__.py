"""Streams over HTTP: server-sent events and WebSockets of third-party applications, read over one connection."""
