"""The audit of what each connection was written: ranges of cursors, on a topic of their own."""
