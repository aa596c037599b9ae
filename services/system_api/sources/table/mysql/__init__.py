"""Reads tables in MariaDB and MySQL, through SQLAlchemy and asyncmy.

A statement takes its time, `NOW()`, when it begins, and a key from `AUTO_INCREMENT` while it runs; the row becomes
visible when its transaction commits. An account with the privilege PROCESS can see which transactions are open, and
rows become final when these have ended. Without it, rows are final when they are `overlap` old.
"""
