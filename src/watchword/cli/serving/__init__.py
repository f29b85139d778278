"""Verbs on the server's host: serve, doctor, audit, export and import, straight from the database."""
