"""Accepting connections: at a pace, and within limits."""
