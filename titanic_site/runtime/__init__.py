"""The product on one machine: embedded PostgreSQL and Valkey, the supervisor, `manage.py up`."""
