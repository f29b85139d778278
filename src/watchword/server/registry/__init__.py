"""Tenants, applications, credentials, APIs, scopes, roles and grants, and the rules for changing them."""
