"""The endpoints of a tenant's issuer."""
