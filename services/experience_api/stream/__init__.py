"""Delivers the publish topic: follows it, keeps its recent history, and catches subscribers up."""
