"""Issue, read, introspect and revoke tokens; status lists and rate limits."""
