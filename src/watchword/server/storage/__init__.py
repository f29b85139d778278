"""Where it is kept: SQLite and PostgreSQL under one conformance suite."""
