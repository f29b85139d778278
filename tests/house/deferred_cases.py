"""Shared cases that no test names yet, each with the issue that owes it."""

DEFERRED: dict[str, str] = {
    **{f"RES-{n:03}": "issue 4: rich authorization requests" for n in range(12, 18)},
    "CLK-003": "issue 4: replay marks of client assertions",
    "TEP-016": "issue 4: token exchange",
    "CAU-024": "issue 4: the TLS listener that asks for client certificates",
    "DIS-006": "issue 4: private_key_jwt in the client library",
    "ADM-025": "issue 2, still open: export and import of an instance",
    **{f"ADM-{n:03}": "console issue: the web console" for n in (9, 12, 13, 15, 16, 18)},
}
