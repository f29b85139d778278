"""What an API fetches from the issuer: metadata, keys, status lists, answers about opaque tokens."""
