"""Storage in SQLite and PostgreSQL, both under one conformance test suite."""
