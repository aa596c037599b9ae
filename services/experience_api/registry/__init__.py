"""Who may register, who has, and who is connected: kept in PostgreSQL, and in memory for unit tests.

`protocol` says what both promise; `notices` is what replicas tell one another about connections.
"""
