"""Reads whole files that are not lines of UTF-8 text: documents of records, compressed files, and other encodings.

Blocking calls, for an I/O thread. Every reader has bounded memory, whatever the size of the file.
"""
