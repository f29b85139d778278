"""How we reach others: fetches to addresses that somebody else chose."""
