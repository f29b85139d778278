"""Wires the admin API: the callers that may use it, and the routes of each wing."""

from __future__ import annotations

from ...http.admin.app import AdminApi
from ...http.admin.cursors import Cursors
from ...http.admin.fleet.device_authorities import DeviceAuthorityHandlers
from ...http.admin.fleet.devices import DeviceHandlers
from ...http.admin.fleet.enrolment import EnrolmentHandlers
from ...http.admin.fleet.expected import ExpectedHandlers
from ...http.admin.fleet.pending import PendingHandlers
from ...http.admin.keys.signing_keys import SigningKeyHandlers
from ...http.admin.pages import Pages
from ...http.admin.registry.apis import ApiHandlers
from ...http.admin.registry.applications import ApplicationHandlers
from ...http.admin.registry.credentials import CredentialHandlers
from ...http.admin.registry.federation import FederationHandlers
from ...http.admin.registry.quarantine import QuarantineHandlers
from ...http.admin.registry.registration import RegistrationHandlers
from ...http.admin.registry.roles import RoleHandlers
from ...http.admin.registry.tenants import TenantHandlers
from ...http.admin.registry.trust_anchors import TrustAnchorHandlers
from ...http.admin.repeats import Repeats
from ...http.admin.routes import Route
from ...http.admin.upkeep.audit import AuditHandlers
from ...http.administration import Administration
from ...http.administrator import Administrators
from ...http.dpop import Addresses
from ...http.front import Asgi
from ..foundation import BULK_SECRETS
from ..services import Services


def administration_of(services: Services, addresses: Addresses) -> Administration:
    """What authenticates administrators and reads their requests; the App ID surface's management uses it too."""
    administrators = Administrators(
        view=services.view,
        tokens=services.tokens.reader,
        prove=services.clients.possession,
        clock=services.world.clock,
        issuer_of=services.issuer_of,
        addresses=addresses,
    )
    return Administration(administrators, services.settings.body_timeout, services.tokens.refusals)


def mount_admin(services: Services, administration: Administration, base_path: str) -> dict[str, Asgi]:
    """The admin API, by the prefix of its paths."""
    pages = Pages(services.desk, services.master)
    # The OpenAPI document lists the operations in this order.
    routes = [*registry_routes(services, pages), *fleet_routes(services, pages)]
    repeats = Repeats(services.storage.answers, services.master, services.world.clock)
    return {
        "/api/v1/": AdminApi(
            routes,
            administration,
            repeats=repeats,
            view=services.view,
            issuer_of=services.issuer_of,
            base_path=base_path,
        )
    }


def registry_routes(services: Services, pages: Pages) -> list[Route]:
    """Applications, APIs, roles, signing keys, trust, the audit log and tenants."""
    desk, rotate = services.desk, services.keys.rotate
    use = services.storage.store.secret_use
    applications = ApplicationHandlers(desk, pages, use)
    return [
        *applications.routes(),
        *CredentialHandlers(desk, applications, services.settings.max_old_secrets).routes(),
        *QuarantineHandlers(desk, applications).routes(),
        *ApiHandlers(desk, pages, rotate).routes(),
        *RoleHandlers(desk, pages).routes(),
        *SigningKeyHandlers(desk, rotate).routes(),
        *TrustAnchorHandlers(desk).routes(),
        *AuditHandlers(services.upkeep.audit, Cursors(services.master)).routes(),
        *TenantHandlers(desk, services.registry.create_tenant, services.issuer_of).routes(),
        *FederationHandlers(desk, pages, services.clients.dry_run).routes(),
        *RegistrationHandlers(desk, pages).routes(),
    ]


def fleet_routes(services: Services, pages: Pages) -> list[Route]:
    """Enrolment and devices."""
    desk = services.desk
    devices = DeviceHandlers(
        desk,
        pages,
        services.storage.store.secret_use,
        bulk_key=services.master.derive(BULK_SECRETS),
        max_old_secrets=services.settings.max_old_secrets,
    )
    return [
        *EnrolmentHandlers(desk, pages).routes(),
        *DeviceAuthorityHandlers(desk, pages, services.fleet.certificates).routes(),
        *ExpectedHandlers(desk, pages).routes(),
        *PendingHandlers(desk, pages).routes(),
        *devices.routes(),
    ]
