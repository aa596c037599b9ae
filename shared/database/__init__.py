"""Access to Trelay's PostgreSQL database, its tables and their migrations.

`options` has its address, `engine` connects SQLAlchemy and `pool` plain asyncpg, `errors` translates their errors,
`tables` describes the tables and `migrations` creates them, `listener` receives notifications, and `watchers` passes
them on within the process.
"""
