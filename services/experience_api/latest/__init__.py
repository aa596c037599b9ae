"""The latest event of each subject: copied from the publish topic to a table, from which snapshots are read."""
