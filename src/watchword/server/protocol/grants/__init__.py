"""The table of grants. To add a grant, write a module with a `GRANT` and add its row here."""

from __future__ import annotations

from typing import Never

from ..errors import InvalidRequest, UnsupportedGrantType
from ..form import REPEATABLE
from . import client_credentials, token_exchange
from .grant import Grant, Grants

GRANTS: Grants = {grant.grant_type: grant for grant in (client_credentials.GRANT, token_exchange.GRANT)}
"""All grants of this server, by grant type."""
REPEATABLE_BY_SOME = frozenset[str]().union(*(grant.repeatable for grant in GRANTS.values())) - REPEATABLE
"""The parameters that may be repeated in some grants and not in others."""


def grant_for(grants: Grants, grant_type: str) -> Grant:
    """The grant of that type. Raises `InvalidRequest` without a type, `UnsupportedGrantType` for an unknown one."""
    if not grant_type:
        raise InvalidRequest("grant_type is missing")
    try:
        return grants[grant_type]
    except KeyError:
        raise UnsupportedGrantType(f"this server knows {', '.join(grants)}") from None


def only(*offered: Grant, otherwise: str) -> Grants:
    """The grants of a surface that has its own. It answers every other grant of this server with `otherwise`.

    A surface refuses such a grant after the check whether the application may use it, as it always did.
    """

    def refuse(*_: object) -> Never:
        raise UnsupportedGrantType(otherwise)

    refused = {grant_type: Grant(grant_type, refuse) for grant_type in GRANTS}
    return {**refused, **{grant.grant_type: grant for grant in offered}}
