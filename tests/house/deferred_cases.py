"""Shared cases that no test names yet, each with the issue that owes it."""

DEFERRED: dict[str, str] = {
    "SSR-013": "the issue that brings webhooks or audit sinks: there are none",
    "DBF-012": "Watchword uses no Redis",
    **{f"SCA-{n:03}": "the issue on scale: a measurement (bench/), not a test" for n in (1, 2, 4, 5, 6)},
    **{f"ADM-{n:03}": "console issue: the web console" for n in (9, 12, 13, 15, 16, 18)},
}
