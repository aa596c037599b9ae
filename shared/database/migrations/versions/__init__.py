"""The revisions of the database, one module each; Alembic loads them by path."""
