"""Create, change and delete tenants, applications, APIs, roles and trusted issuers."""
