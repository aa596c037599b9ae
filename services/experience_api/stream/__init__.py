"""Reads the publish topic, keeps its recent history, and catches subscribers up."""
