"""The rule of administration: nobody gives what he does not hold, nor changes what holds more than he does.

A right is a scope of the administration API. Pure: who holds what is read by `service/registry/rights.py`, in the
transaction of the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .errors import Forbidden, Invalid
from .model import ADMIN_API, Api, Application, Grant, Role


def rights_in(grants: Iterable[Grant], admin: Api) -> frozenset[str]:
    """The scopes of the administration API among these grants; only those that it offers."""
    named = frozenset(name for grant in grants if grant.api_id == admin.api_id for name in grant.scopes)
    return named & admin.scope_names()


def rights_of_roles(role_ids: Iterable[str], roles: Mapping[str, Role], admin: Api) -> frozenset[str]:
    """The same for roles; those that are gone give nothing."""
    given = [grant for role_id in role_ids if role_id in roles for grant in roles[role_id].access]
    return rights_in(given, admin)


def rights_of(application: Application, roles: Mapping[str, Role], admin: Api) -> frozenset[str]:
    """What an application holds at the administration API, by its grants and its roles."""
    return rights_in(application.grants, admin) | rights_of_roles(application.role_ids, roles, admin)


def check_holds(held: frozenset[str], needed: frozenset[str]) -> None:
    """`held` is what the caller holds; `needed` what is given, or what the changed thing holds. Raises `Forbidden`."""
    missing = sorted(needed - held)
    if missing:
        raise Forbidden(
            f"this concerns rights of administration that you do not hold: {', '.join(missing)}; "
            "ask an administrator who holds them, with a token that has these scopes"
        )


def enrolled(application: Application) -> bool:
    """Whether it came by itself or in a list, as a device: such an application never administers."""
    return application.kind == "device" or application.group_id is not None


def check_enrolled(application: Application, roles: Mapping[str, Role], apis: Mapping[str, Api]) -> None:
    """A device has no rights of administration, by a grant or by a role. Raises `Invalid`."""
    if not enrolled(application):
        return
    check_never_administers(application.grants, application.role_ids, roles, apis)


def check_never_administers(
    grants: Iterable[Grant], role_ids: Iterable[str], roles: Mapping[str, Role], apis: Mapping[str, Api],
    fields: tuple[str, str] = ("grants", "role_ids"),
) -> None:  # fmt: skip
    """The same for what applications will get that enrol or register. Raises `Invalid`."""
    admin = next((api for api in apis.values() if api.identifier == ADMIN_API), None)
    if admin is None:
        return
    if any(grant.api_id == admin.api_id for grant in grants):
        raise Invalid("a device or a member of an enrolment group cannot be an administrator", field=fields[0])
    for role_id in role_ids:
        if role_id in roles and any(grant.api_id == admin.api_id for grant in roles[role_id].access):
            raise Invalid(
                f"the role {roles[role_id].name} administers, and a device or a member of an enrolment group cannot",
                field=fields[1],
            )


def check_admin_api(before: Api, after: Api) -> None:
    """The administration API stays usable: on, with its scopes, and its tokens are JWTs. Raises `Invalid`."""
    if not after.enabled:
        raise Invalid("the administration API cannot be disabled: disable an administrator instead", field="enabled")
    gone = sorted(before.scope_names() - after.scope_names())
    new = sorted(after.scope_names() - before.scope_names())
    if gone or new:
        raise Invalid(
            f"the administration API keeps its scopes: {', '.join(gone or new)} {'is missing' if gone else 'is new'}",
            field="scopes",
        )
    if after.tokens.format != "jwt":
        raise Invalid("tokens for the administration API are JWTs", field="tokens.format")
