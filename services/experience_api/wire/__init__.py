"""Encodes cursors, WebSocket frames, and the bus's records into frames."""
