"""Tables of databases that SQLAlchemy reads: SQL Server and Oracle, neither of which the tests run.

SQLAlchemy compiles the statements. What differs between the databases is in `dialects`. Trelay does not see their open
transactions, so `overlap` says how long a row may take to appear.
"""
