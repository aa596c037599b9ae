"""The one database: how it is reached, what its tables are, and how they come to be.

`options` says where it is, `engine` connects SQLAlchemy to it and `connections` plain asyncpg, `errors` translates what
can go wrong, `tables` names what lies in it, `migrations` makes it so, `listener` hears its notifications.
"""
