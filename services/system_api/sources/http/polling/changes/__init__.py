"""Recognises new and changed records: by their time, by comparison with the last list, or by a cursor of the API."""
