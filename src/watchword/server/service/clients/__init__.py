"""Client authentication: secrets, keys, assertions, certificates, other issuers' tokens, and failed attempts."""
