"""The audit log in the database: read, verify, sign and prune it."""
