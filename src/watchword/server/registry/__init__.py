"""Who may ask: tenants, applications, credentials, APIs, scopes, roles, grants; the rules for changing them."""
