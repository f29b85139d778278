"""`watchword import appid FILE`: applications, scopes, roles and token settings of an IBM Cloud App ID instance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from watchword.jose import JoseError
from watchword.jose.encoding import json_object

from .. import say
from ..api_client import AdminClient
from .appid_file import Application, FileError, Moves, Role, read


def import_appid(
    file: Annotated[Path, typer.Argument(help="JSON of App ID's GET calls, by path; see docs/appid.md")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and change nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Bring along what an App ID instance knows of applications; client ids stay, secrets stay when the file has them.

    It adds and never takes away, so it may be run again. What cannot be carried is listed at the end.
    """
    moves = _read(file)
    work = Import(AdminClient(), moves, dry_run)
    try:
        work.run()
    finally:  # also after a failure: secrets that were handed out are shown nowhere else
        _report(work, dry_run, json)


class Import:
    """One run. `done` says, in order, what was (or would be) made, extended or found as it should be."""

    def __init__(self, client: AdminClient, moves: Moves, dry_run: bool) -> None:
        self._client, self._moves, self._dry_run = client, moves, dry_run
        self.done: list[dict[str, Any]] = []
        self.left = list(moves.left)

    def run(self) -> None:
        """Applications first, then what they offer, then roles, then who holds them. Exits 1 on a refusal."""
        present = {known["client_id"] for known in self._client.items("/applications")}
        for application in self._moves.applications:
            self._application(application, application.client_id in present)
        for client_id, scopes in self._moves.scopes.items():
            self._extend("scopes", client_id, client_id in present, scopes)
        roles = {role["name"]: role for role in self._client.management("GET", "/roles")["roles"]}
        for role in self._moves.roles:
            self._role(role, roles)
        for client_id, names in self._moves.held.items():
            ids = [str(roles[name]["id"]) for name in names]
            self._extend("roles", client_id, client_id in present, ids)
        if self._moves.tokens is not None:
            self._tokens(self._moves.tokens)

    def _say(self, what: str, name: str, action: str, **more: Any) -> None:
        self.done.append({"what": what, "name": name, "action": action, **more})

    def _application(self, application: Application, present: bool) -> None:
        if present:
            return self._say("application", application.client_id, "kept")
        secret = "as in the file" if application.secret else "new"
        body = {"client_id": application.client_id, "name": application.name}
        if application.secret:
            body["secret"] = application.secret
        made = {} if self._dry_run else self._client.create("/applications", body)
        self._say("application", application.client_id, "created", secret=made.get("client_secret") or secret)

    def _extend(self, kind: str, client_id: str, present: bool, wanted: list[str]) -> None:
        """Adds to what an application offers or holds."""
        path = f"/applications/{quote(client_id, safe='')}/{kind}"
        has: list[str] = []
        if present or not self._dry_run:
            listed = self._client.management("GET", path)[kind]
            has = [entry if isinstance(entry, str) else entry["id"] for entry in listed]
        together = list(dict.fromkeys([*has, *wanted]))
        if together == has:
            return self._say(kind, client_id, "kept")
        if not self._dry_run:
            self._client.management("PUT", path, {kind: {"ids": together} if kind == "roles" else together})
        self._say(kind, client_id, "set")

    def _role(self, role: Role, known: dict[str, dict[str, Any]]) -> None:
        access = [{"application_id": entry.application_id, "scopes": entry.scopes} for entry in role.access]
        found = known.get(role.name)
        if found is None:
            body = {"name": role.name, "description": role.description, "access": access}
            new = {**body, "id": "new"}
            known[role.name] = new if self._dry_run else self._client.management("POST", "/roles", body)
            return self._say("role", role.name, "created")
        if _gives(found["access"]) != _gives(access):
            self.left.append(f"role {role.name!r} exists here with other scopes and stays as it is")
        return self._say("role", role.name, "kept")

    def _tokens(self, wanted: dict[str, Any]) -> None:
        has = self._client.management("GET", "/config/tokens")
        if all(has[name] == value for name, value in wanted.items()):
            return self._say("tokens", "config", "kept")
        if not self._dry_run:
            self._client.management("PUT", "/config/tokens", wanted)
        self._say("tokens", "config", "set")


def _gives(access: list[dict[str, Any]]) -> dict[str, set[str]]:
    return {entry["application_id"]: set(entry["scopes"]) for entry in access}


def _read(file: Path) -> Moves:
    try:
        return read(json_object(file.read_bytes()))
    except OSError as error:
        say.fail(f"cannot read {file}: {error.strerror}", "name a file that holds App ID's answers; see docs/appid.md")
    except (JoseError, FileError) as error:
        say.fail(f"{file}: {error}", "docs/appid.md shows how to make the file")


def _report(work: Import, dry_run: bool, json: bool) -> None:
    if json:
        return say.data({"dry_run": dry_run, "done": work.done, "left": work.left})
    for entry in work.done:  # lines, not a table: a narrow terminal would cut the secret, which is shown once
        secret = f"  secret: {entry['secret']}" if "secret" in entry else ""
        say.line(f"{entry['what']:12} {entry['action']:8} {entry['name']}{secret}")
    for sentence in work.left:
        say.note(f"not carried: {sentence}")
    changed = sum(entry["action"] != "kept" for entry in work.done)
    say.done(f"{changed} changes{' would be made' if dry_run else ''}, {len(work.left)} things not carried")
