"""Write docs/rights.md from the route tables of the admin API and of the App ID management API.

    .venv/bin/python docs/write_rights.py

A test compares the file with a new one, and tries every operation with every scope (tests/attack/test_rights.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, cast
from unittest.mock import MagicMock

from watchword.server.composition.surfaces.admin import fleet_routes, registry_routes
from watchword.server.http.admin.routes import Route
from watchword.server.http.appid.handlers import AppIdHandlers
from watchword.server.service.registry.create_tenant import ADMIN_SCOPES

DOCUMENT: Final = Path(__file__).resolve().parent / "rights.md"
_HEAD: Final = """\
# Rights of administration

This page shows which scope of the administration API opens which operation. It is written from the server's tables:
run `.venv/bin/python docs/write_rights.py` after a change. A token needs the scope of the operation, and its
application has to hold the scope now: a demotion counts at once, whatever the token says.

A scope alone does not lead to more scopes. An administrator cannot

- give a scope of the administration API that they do not hold, by a grant, a role or an import;
- change, disable or delete an application that holds more than they do, or its secrets, keys and identity rules;
- change a role that gives more than they hold;
- change the keys or settings of a trusted issuer, or add a trust anchor, with which they could authenticate as such an
  application.

The answer is 403 and names the scopes that are missing. What counts is what both hold: the application of the token,
and the token. A token that was requested with `scope=applications:write` gives no more than that. Devices, and members
of enrolment groups, never administer.

To give an application one scope, such as `audit:read`:

```sh
watchword app create auditor --grant urn:watchword:admin=audit:read
```

If nobody is left who holds enough, run `watchword admin recover` on the server's host
([administrators](administrators.md)).
"""


def routes() -> list[Route]:
    """Every operation of both tables."""
    return [*_admin(), *_appid()]


def document() -> str:
    """The text of the page."""
    return "\n".join(
        [_HEAD, "## Admin API\n", *_table(_admin()), "", "## App ID management API\n", *_table(_appid()), ""]
    )


def _admin() -> list[Route]:
    nothing = cast(Any, MagicMock())  # the handlers are made, and never called
    return [*registry_routes(nothing, nothing), *fleet_routes(nothing, nothing)]


def _appid() -> list[Route]:
    nothing = cast(Any, None)
    return AppIdHandlers(nothing, nothing, nothing, "").routes()


def _table(listed: Iterable[Route]) -> list[str]:
    order = list(ADMIN_SCOPES)
    rows = sorted(listed, key=lambda route: (order.index(route.scope), route.path, route.method))
    lines = ["| scope | operation | what it does |", "|---|---|---|"]
    lines += [f"| `{one.scope}` | `{one.method} {one.path}` | {one.summary} |" for one in rows]
    return lines


if __name__ == "__main__":
    DOCUMENT.write_text(document())
