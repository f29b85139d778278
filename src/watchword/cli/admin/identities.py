"""`watchword app identities`: the rules by which tokens of other issuers prove an application."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import say
from ..api_client import AdminClient
from .issuers import find_issuer

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Issuer = Annotated[str | None, typer.Option("--issuer", help="Whose tokens: a trusted issuer's URL, domain or id")]
Claim = Annotated[
    list[str] | None,
    typer.Option("--claim", help="CLAIM=TEXT has to stand in them; repeatable, for one claim: any of the texts"),
]
ClaimIs = Annotated[list[str] | None, typer.Option("--claim-is", help="CLAIM=true or CLAIM=false; repeatable")]
ClaimLike = Annotated[list[str] | None, typer.Option("--claim-like", help="CLAIM=GLOB, a/* or a/**; repeatable")]
ClaimHas = Annotated[list[str] | None, typer.Option("--claim-has", help="CLAIM=TEXT, a member of a list; repeatable")]
identities = typer.Typer(
    no_args_is_help=True,
    help="Rules by which tokens of other issuers prove an application: list, add, remove, dry-run.",
)


def read_rule(
    client: AdminClient, issuer: str | None, claim: list[str] | None, claim_is: list[str] | None,
    claim_like: list[str] | None, claim_has: list[str] | None,
) -> dict[str, Any] | None:  # fmt: skip
    """The rule that these options say; None when they say none. Exits with 2 when they say half of one."""
    texts: dict[str, list[str]] = {}
    for name, value in map(_pair, claim or ()):
        texts.setdefault(name, []).append(value)
    conditions: list[dict[str, Any]] = [
        {"claim": name, "equals": values[0]} if len(values) == 1 else {"claim": name, "one_of": values}
        for name, values in texts.items()
    ]
    conditions += [{"claim": name, "equals": _boolean(value)} for name, value in map(_pair, claim_is or ())]
    conditions += [{"claim": name, "glob": value} for name, value in map(_pair, claim_like or ())]
    conditions += [{"claim": name, "contains": value} for name, value in map(_pair, claim_has or ())]
    if issuer is None and not conditions:
        return None
    if issuer is None or not conditions:
        say.misuse("a rule has an issuer and conditions", "give --issuer and one or more of --claim, --claim-like ...")
    return {"issuer_id": find_issuer(client, issuer)["issuer_id"], "conditions": conditions}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text}: write CLAIM=VALUE")
    return name, value


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise typer.BadParameter(f"{text}: write true or false")
    return text == "true"


def _told(condition: dict[str, Any]) -> str:
    way = next(name for name in ("equals", "one_of", "glob", "contains") if name in condition)
    value = condition[way]
    shown = " | ".join(value) if isinstance(value, list) else str(value).lower() if value in (True, False) else value
    return f"{condition['claim']} {'=' if way in ('equals', 'one_of') else way} {shown}"


@identities.command("list")
def identities_list(client_id: str, json: Json = False) -> None:
    """List them; one of them is enough."""
    client = AdminClient()
    found = client.call("GET", f"/applications/{client_id}")["identities"]
    if json:
        return say.data(found)
    names = {one["issuer_id"]: one["issuer"] for one in client.items("/trusted-issuers")}
    say.rows(
        [
            {
                "rule_id": rule["rule_id"],
                "issuer": names.get(rule["issuer_id"], "not trusted any more"),
                "conditions": ", ".join(map(_told, rule["conditions"])),
            }
            for rule in found
        ],
        ["rule_id", "issuer", "conditions"],
    )


@identities.command("add")
def identities_add(
    client_id: str,
    issuer: Issuer = None,
    claim: Claim = None,
    claim_is: ClaimIs = None,
    claim_like: ClaimLike = None,
    claim_has: ClaimHas = None,
    json: Json = False,
) -> None:
    """Add a rule; tokens that all its conditions hold for prove the application from now on."""
    client = AdminClient()
    rule = read_rule(client, issuer, claim, claim_is, claim_like, claim_has)
    if rule is None:
        say.misuse("a rule has an issuer and conditions", "give --issuer and one or more of --claim, --claim-like ...")
    made = client.create(f"/applications/{client_id}/identities", rule)
    if json:
        say.data(made)
    else:
        say.done(f"added {made['rule_id']}")


@identities.command("remove")
def identities_remove(client_id: str, rule_id: str) -> None:
    """Remove a rule at once."""
    AdminClient().call("DELETE", f"/applications/{client_id}/identities/{rule_id}")
    say.done(f"removed {rule_id}")


@identities.command("dry-run")
def identities_dry_run(
    client_id: Annotated[str | None, typer.Argument(help="Whose rules; or give a rule with --issuer, --claim")] = None,
    token: Annotated[Path | None, typer.Option(help="A file that holds the token; else standard input")] = None,
    issuer: Issuer = None,
    claim: Claim = None,
    claim_is: ClaimIs = None,
    claim_like: ClaimLike = None,
    claim_has: ClaimHas = None,
    json: Json = False,
) -> None:
    """Try a token: which rule holds, and why another does not. Nothing is used up. Exit 1: it proves nobody."""
    client = AdminClient()
    rule = read_rule(client, issuer, claim, claim_is, claim_like, claim_has)
    if (rule is None) == (client_id is None):
        say.misuse("give a client id, or a rule", "watchword app identities dry-run CLIENT_ID --token FILE")
    body = {"token": _read_token(token), **({"client_id": client_id} if rule is None else {"rules": [rule]})}
    found = client.call("POST", "/identity-rules/dry-run", body)
    if json:
        say.data(found)
    else:
        _explain(found)
    if not found["proves"]:
        raise typer.Exit(say.FAILED)


def _read_token(path: Path | None) -> str:
    try:
        return (sys.stdin.read() if path is None else path.read_text()).strip()
    except (OSError, UnicodeDecodeError):
        say.fail(f"cannot read {path or 'standard input'}", "name a file that holds a JWT")


def _explain(found: dict[str, Any]) -> None:
    _line(not found["statement"], f"a token of {found['issuer'] or 'nobody'}", found["statement"])
    for rule in found["rules"]:
        _line(rule["matches"], f"rule {rule['rule_id']}", rule["why"])
        for each in rule["conditions"]:
            _line(each["holds"], f"  {_told(each['condition'])}", each["why"])


def _line(good: bool, text: str, why: str) -> None:
    mark = "✓" if good else "✗"
    say.line(f"{mark} {text}{': ' + why if why else ''}")
