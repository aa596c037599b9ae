"""Snapshots: sends the latest event of each subject, and then the stream, without a gap and without a repetition."""
