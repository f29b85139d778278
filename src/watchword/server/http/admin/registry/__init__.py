"""The admin API's operations on tenants, applications, APIs, roles, keys and trusted issuers."""
