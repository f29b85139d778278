"""The admin API's operations on tenants, applications, APIs, roles, trust anchors and trusted issuers."""
