"""What we sign with: states, the rotation rule, the JWK set."""
