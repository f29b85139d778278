"""`watchword tenant`: tenants over the admin API, and what holds for a whole tenant."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import say
from ..api_client import AdminClient
from .certificates import anchors
from .issuers import issuers
from .limits import Rate, read_rate, shown

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
tenant = typer.Typer(no_args_is_help=True, help="Tenants (from the default tenant).")
tenant.add_typer(anchors, name="anchors")
tenant.add_typer(issuers, name="issuers")


@tenant.command("create")
def tenant_create(slug: str, name: Annotated[str, typer.Option(help="For people")] = "", json: Json = False) -> None:
    """Create a tenant and its first administrator, whose secret is printed once."""
    made = AdminClient().create("/tenants", {"slug": slug, "name": name or slug})
    say.members(made, json, "issuer", "client_id", "client_secret")


@tenant.command("list")
def tenant_list(json: Json = False) -> None:
    """List tenants."""
    found = AdminClient().items("/tenants")
    if json:
        say.data(found)
    else:
        say.rows(found, ["slug", "name", "enabled", "profile"])


@tenant.command("update")
def tenant_update(
    slug: str,
    profile: Annotated[
        str | None, typer.Option(help="fapi2: only what FAPI 2.0 lets pass; none: everything that is good elsewhere")
    ] = None,
    transaction_tokens: Annotated[
        str | None, typer.Option(help="The version of draft-ietf-oauth-transaction-tokens: draft-10; none turns it off")
    ] = None,
    trust_domain: Annotated[
        str | None, typer.Option(help="The API that stands for the trust domain of transaction tokens")
    ] = None,
    transaction_lifetime: Annotated[int, typer.Option(help="Seconds that a transaction token lives")] = 120,
    rate: Rate = None,
    several_apis: Annotated[
        bool | None, typer.Option("--several-apis/--one-api", help="Whether one token may be for several APIs")
    ] = None,
    json: Json = False,
) -> None:
    """Change a tenant. A profile is refused while applications would stop working under it, and each is named."""
    change: dict[str, Any] = {} if profile is None else {"profile": "" if profile == "none" else profile}
    if transaction_tokens == "none":
        change["transaction_tokens"] = None
    elif transaction_tokens is not None:
        if trust_domain is None:
            raise typer.BadParameter("--transaction-tokens needs --trust-domain")
        change["transaction_tokens"] = {
            "draft": transaction_tokens, "trust_domain": trust_domain, "lifetime": transaction_lifetime,
        }  # fmt: skip
    if rate is not None:
        change["rate_limit"] = read_rate(rate)
    if several_apis is not None:
        change["several_apis"] = several_apis
    changed = AdminClient().call("PATCH", f"/tenants/{slug}", change)
    if json:
        return say.data(changed)
    say.done(f"{slug}: profile {changed['profile'] or 'none'}, limit {shown(changed['rate_limit'])}")
    if (on := changed["transaction_tokens"]) is not None:
        say.done(f"{slug}: transaction tokens {on['draft']} for {on['trust_domain']}, {on['lifetime']} s")


@tenant.command("suspend")
def tenant_suspend(slug: str) -> None:
    """Suspend a tenant: it gets no tokens, and its tokens are inactive, until you resume it."""
    AdminClient().call("PATCH", f"/tenants/{slug}", {"enabled": False})
    say.done(f"suspended {slug}. Resume it: watchword tenant resume {slug}")


@tenant.command("resume")
def tenant_resume(slug: str) -> None:
    """Resume a suspended tenant. Tokens that have not expired are valid again."""
    AdminClient().call("PATCH", f"/tenants/{slug}", {"enabled": True})
    say.done(f"resumed {slug}")


@tenant.command("delete")
def tenant_delete(slug: str) -> None:
    """Delete a tenant; its slug is never used again."""
    AdminClient().call("DELETE", f"/tenants/{slug}")
    say.done(f"deleted {slug}")
