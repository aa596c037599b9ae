"""Reads tables in SQLite, which has one writer at a time.

Ordered by key, every visible row is final, because keys are assigned in the order of the commits. Ordered by time, a
row is final when it is older than `overlap` plus the resolution of the times; a row that is committed later than that
is missed.
"""
