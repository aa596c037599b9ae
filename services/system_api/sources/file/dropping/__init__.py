"""Takes whole files from a folder, and archives or deletes them when they are published."""
