"""The operations on trusted issuers and identity rules."""

from __future__ import annotations

from ....registry.trusted_issuer import IdentityRule
from ....service.clients.dry_run_identity import DryRunIdentity, Findings, Trial
from ....service.desk import Desk, found
from ....service.registry.identity_changes import NewIdentityRule, add_identity, remove_identity
from ....service.registry.trust_issuer import IssuerChange, NewIssuer, distrust_issuer, trust_issuer, update_issuer
from .. import shapes
from ..pages import LIST, Pages
from ..routes import Reply, Request, Route

_I, _RULES = "/api/v1/trusted-issuers", "/api/v1/applications/{client_id}/identities"


class FederationHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, pages: Pages, dry_run: DryRunIdentity) -> None:
        self._desk, self._pages, self._dry_run = desk, pages, dry_run

    def routes(self) -> list[Route]:
        """This part of the admin API."""
        one = f"{_I}/{{issuer_id}}"
        return [
            Route(method="GET", path=_I, scope="keys:read", summary="List the issuers whose statements prove applications", handler=self.list_issuers, reply=shapes.IssuerShape, query=LIST),
            Route(method="POST", path=_I, scope="keys:write", summary="Trust another issuer", handler=self.trust_issuer, body=NewIssuer, reply=shapes.IssuerShape, status=201),
            Route(method="GET", path=one, scope="keys:read", summary="Show a trusted issuer", handler=self.show_issuer, reply=shapes.IssuerShape),
            Route(method="PATCH", path=one, scope="keys:write", summary="Change what is believed of an issuer", handler=self.update_issuer, body=IssuerChange, reply=shapes.IssuerShape),
            Route(method="DELETE", path=one, scope="keys:write", summary="Trust an issuer no more", handler=self.distrust_issuer, status=204),
            Route(method="POST", path=_RULES, scope="applications:write", summary="Add a rule by which statements prove the application", handler=self.add_identity, body=NewIdentityRule, reply=IdentityRule, status=201),
            Route(method="DELETE", path=f"{_RULES}/{{rule_id}}", scope="applications:write", summary="Remove an identity rule", handler=self.remove_identity, status=204),
            Route(method="POST", path="/api/v1/identity-rules/dry-run", scope="applications:read", summary="Try a token on identity rules; nothing is used up", handler=self.dry_run, body=Trial, reply=Findings),
        ]  # fmt: skip

    async def list_issuers(self, request: Request) -> Reply:
        """A page, ordered by issuer."""
        page, following = await self._pages.page(request, "issuers", lambda i: (i.issuer, i.issuer_id))
        return Reply(shapes.Page(items=[shapes.issuer_shape(i) for i in page], next=following))

    async def trust_issuer(self, request: Request) -> Reply:
        """Answer 201 with what was made."""
        i = await trust_issuer(self._desk, request.caller, request.body)
        return Reply(shapes.issuer_shape(i), 201, i.version, f"{_I}/{i.issuer_id}")

    async def show_issuer(self, request: Request) -> Reply:
        """Answer with an ETag."""
        async with self._desk.store.snapshot() as tx:
            i = found(await tx.issuers.get(request.caller.tenant_id, request.path["issuer_id"]), "trusted issuer")
        return Reply(shapes.issuer_shape(i), version=i.version)

    async def update_issuer(self, request: Request) -> Reply:
        """Change it, if its version is the one of If-Match."""
        issuer_id = request.path["issuer_id"]
        i = await update_issuer(self._desk, request.caller, issuer_id, request.body, request.expected)
        return Reply(shapes.issuer_shape(i), version=i.version)

    async def distrust_issuer(self, request: Request) -> Reply:
        """Answer 204."""
        await distrust_issuer(self._desk, request.caller, request.path["issuer_id"], request.expected)
        return Reply(status=204)

    async def add_identity(self, request: Request) -> Reply:
        """201 with the rule."""
        _, rule = await add_identity(self._desk, request.caller, request.path["client_id"], request.body)
        return Reply(rule, 201)

    async def remove_identity(self, request: Request) -> Reply:
        """Answer 204."""
        await remove_identity(self._desk, request.caller, request.path["client_id"], request.path["rule_id"])
        return Reply(status=204)

    async def dry_run(self, request: Request) -> Reply:
        """What would come of the token."""
        return Reply(await self._dry_run(request.caller, request.body))
