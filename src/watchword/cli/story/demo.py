"""`watchword demo`: the airline story end to end, on throwaway state, narrated.

Four processes on loopback (Watchword, payments, reservations, and this one as the dashboard). Exit
0 only if every step held.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import typer

from .. import say
from .airline import CHARGE, PAYMENTS

PATIENCE = 60
"""Seconds for a step that waits for another process, on a machine that is busy with other things."""


class Broken(Exception):
    """A step of the story did not hold."""


class Story:
    """Narrates steps and times them."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.steps = 0

    def chapter(self, title: str) -> None:
        """A heading."""
        say.err.print(f"\n[bold cyan]{title}[/bold cyan]")

    def step(self, told: str, work: Callable[[], Any]) -> Any:
        """Run one step; what it returns, and how long it took."""
        began = time.perf_counter()
        try:
            result = work()
        except Exception as error:
            say.err.print(f"  [red]✗[/red] {told}")
            raise Broken(f"{told}: {error}") from error
        self.steps += 1
        say.err.print(f"  [green]✓[/green] {told} [dim]{(time.perf_counter() - began) * 1000:.0f} ms[/dim]")
        return result


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], folder: Path, ready: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that answers at `ready`; killed at the end. Its output is kept for when something fails."""
    with (folder / f"{Path(command[0]).name}-{os.urandom(3).hex()}.log").open("wb") as log:
        child = subprocess.Popen(command, env={**os.environ, **environment}, cwd=folder, stdout=log, stderr=log)

    def answers() -> bool:
        if child.poll() is not None:
            raise Broken(f"{Path(command[0]).name} ended with {child.returncode}: {Path(log.name).read_text()[-500:]}")
        return httpx.get(ready, timeout=1).status_code < 500

    try:
        _until(answers)
        yield child
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()


def _until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    raise Broken(f"nothing happened within {PATIENCE} s")


def _expect(answer: httpx.Response, status: int, *words: str) -> httpx.Response:
    if answer.status_code != status:
        raise Broken(f"expected {status}, got {answer.status_code}: {answer.text[:200]}")
    for word in words:
        if word not in answer.text + str(answer.headers):
            raise Broken(f"{word!r} is not in the answer: {answer.text[:200]}")
    return answer


def demo(
    keep: bool = typer.Option(False, "--keep", help="Keep the throwaway folder and print its path"),
) -> None:
    """The airline story end to end, on throwaway state, narrated; exit 0 only if every step held."""
    story = Story()
    folder = Path(tempfile.mkdtemp(prefix="watchword-demo-"))
    try:
        with ExitStack() as stack:
            _tell(story, folder, stack)
    except Broken as error:
        say.fail(str(error), f"logs are in {folder}")
    if not keep:
        import shutil

        shutil.rmtree(folder)
    else:
        say.err.print(f"  kept {folder}")
    took = time.perf_counter() - story.began
    say.err.print(f"\n[bold green]Every step held:[/bold green] {story.steps} steps in {took:.1f} s")


def _tell(story: Story, folder: Path, stack: ExitStack) -> None:
    port, pay_port, book_port = _free_port(), _free_port(), _free_port()
    base = f"http://127.0.0.1:{port}"
    issuer = f"{base}/t/default"
    secret_file = folder / "reservations.secret"
    own = {"WATCHWORD_PROFILE": str(folder / "profile.toml"), "WATCHWORD_PORT": str(port)}

    story.chapter("1. An issuer of your own")
    command = [sys.executable, "-m", "watchword.cli", "serve"]
    story.step(
        "watchword serve: database, master key, signing keys and first administrator made; serving",
        lambda: stack.enter_context(_process(command, own, folder, f"{base}/health/ready")),
    )
    admin = story.step(
        "the administrator is an application too: it gets its token as any other does",
        lambda: _admin(folder, base),
    )

    story.chapter("2. Who may ask for what")
    api = story.step(
        f"payments becomes an API, {PAYMENTS}, with {CHARGE} and payments:refund",
        lambda: _expect(
            admin.post("/api/v1/apis", json={
                "identifier": PAYMENTS, "name": "Payments",
                "scopes": [{"name": CHARGE}, {"name": "payments:refund"}], "tokens": {"lifetime": 60},
            }), 201).json(),
    )  # fmt: skip
    app = story.step(
        "the reservation service is registered and granted payments:charge; its secret is shown once",
        lambda: _expect(
            admin.post("/api/v1/applications", json={
                "name": "reservations", "grants": [{"api_id": api["api_id"], "scopes": [CHARGE]}],
            }), 201, "wwsec_").json(),
    )  # fmt: skip
    secret_file.write_text(app["client_secret"])
    secret_file.chmod(0o600)

    story.chapter("3. dashboard -> reservation service -> payments service")
    module = [sys.executable, "-m", "watchword.cli.story.airline"]
    pay_url, book_url = f"http://127.0.0.1:{pay_port}/charge", f"http://127.0.0.1:{book_port}/book"
    story.step(
        "the payments service starts; all it knows is the issuer and its own name",
        lambda: stack.enter_context(
            _process([*module, "payments", str(pay_port)], {"WATCHWORD_ISSUER": issuer}, folder, pay_url)
        ),
    )
    booking = {
        "WATCHWORD_ISSUER": issuer, "WATCHWORD_CLIENT_ID": app["client_id"],
        "WATCHWORD_CLIENT_SECRET_FILE": str(secret_file), "PAYMENTS_URL": pay_url,
    }  # fmt: skip
    story.step(
        "the reservation service starts, and books: it obtained its token as itself, payments accepted it",
        lambda: stack.enter_context(_process([*module, "reservations", str(book_port)], booking, folder, book_url)),
    )
    dashboard = stack.enter_context(httpx.Client(timeout=10))
    story.step("the dashboard books a seat", lambda: _expect(dashboard.post(book_url), 200, '"booked": true'))

    _refusals(story, dashboard, admin, app, api, issuer, pay_url)
    _rotation(story, dashboard, admin, app, book_url, secret_file, issuer)
    _expiry(story, dashboard, admin, api, app, secret_file, issuer, pay_url)
    _proof(story, folder, own)


def _admin(folder: Path, base: str) -> httpx.Client:
    import tomllib

    from watchword.client import ClientCredentials

    known = tomllib.loads((folder / "profile.toml").read_text())
    auth = ClientCredentials(
        known["issuer"], known["client_id"], known["client_secret"], resource="urn:watchword:admin"
    )
    client = httpx.Client(base_url=base, auth=auth, timeout=10)
    _expect(client.get("/api/v1/applications"), 200, "administrator")
    return client


def _token(client: httpx.Client, issuer: str, client_id: str, secret: str, **more: str) -> httpx.Response:
    form = {"grant_type": "client_credentials", "resource": PAYMENTS, **more}
    return client.post(f"{issuer}/token", data=form, auth=(client_id, secret))


def _refusals(
    story: Story,
    client: httpx.Client,
    admin: httpx.Client,
    app: dict[str, Any],
    api: dict[str, Any],
    issuer: str,
    pay_url: str,
) -> None:
    story.chapter("4. Refused, as it should be")
    story.step("no token: 401", lambda: _expect(client.post(pay_url), 401))
    story.step(
        "a scope that was not granted: 400 invalid_scope, never silently narrowed",
        lambda: _expect(
            _token(client, issuer, app["client_id"], app["client_secret"], scope="payments:refund"),
            400,
            "invalid_scope",
        ),
    )
    refunds = _expect(
        admin.post("/api/v1/applications", json={
            "name": "refund desk", "grants": [{"api_id": api["api_id"], "scopes": ["payments:refund"]}]}), 201,
    ).json()  # fmt: skip
    other = _token(client, issuer, refunds["client_id"], refunds["client_secret"]).json()["access_token"]
    story.step(
        "a token with another scope: 403 insufficient_scope",
        lambda: _expect(client.post(pay_url, headers={"authorization": f"Bearer {other}"}), 403, "insufficient_scope"),
    )
    tampered = other[:-6] + ("AAAAAA" if other[-6:] != "AAAAAA" else "BBBBBB")
    story.step(
        "a forged signature: 401 invalid_token",
        lambda: _expect(client.post(pay_url, headers={"authorization": f"Bearer {tampered}"}), 401, "invalid_token"),
    )


def _rotation(
    story: Story,
    client: httpx.Client,
    admin: httpx.Client,
    app: dict[str, Any],
    book_url: str,
    secret_file: Path,
    issuer: str,
) -> None:
    story.chapter("5. Secrets rotate under traffic, and nobody notices")
    stop, answers = threading.Event(), []

    def traffic() -> None:
        with httpx.Client(timeout=10) as own:
            while not stop.is_set():
                answers.append(own.post(book_url).status_code)

    old = app["client_secret"]
    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        for number in (1, 2, 3):

            def rotate() -> None:
                nonlocal old
                old = secret_file.read_text()
                made = _expect(
                    admin.post(f"/api/v1/applications/{app['client_id']}/secrets", json={"overlap": 600}), 201
                ).json()
                fresh = secret_file.with_suffix(".new")
                fresh.write_text(made["client_secret"])
                fresh.chmod(0o600)
                fresh.replace(secret_file)
                seen = len(answers)
                _until(lambda: len(answers) > seen + 20)

            story.step(f"rotation {number}: a new secret; the older one keeps working for its overlap", rotate)
    finally:
        stop.set()
        thread.join()
    failed = [status for status in answers if status != 200]

    def none_failed() -> None:
        if failed:
            raise Broken(f"{len(failed)} of {len(answers)} calls failed")

    story.step(f"{len(answers)} bookings meanwhile, none failed", none_failed)

    def cut() -> None:
        shown = _expect(admin.get(f"/api/v1/applications/{app['client_id']}"), 200).json()
        for kept in shown["secrets"][:-1]:
            _expect(admin.delete(f"/api/v1/applications/{app['client_id']}/secrets/{kept['id']}"), 204)
        _expect(_token(client, issuer, app["client_id"], old), 401, "invalid_client")

    story.step("the older secret is revoked: it is refused from that moment on", cut)


def _expiry(
    story: Story, client: httpx.Client, admin: httpx.Client, api: dict[str, Any], app: dict[str, Any],
    secret_file: Path, issuer: str, pay_url: str,
) -> None:  # fmt: skip
    story.chapter("6. Tokens end")
    secret = secret_file.read_text()
    good = _token(client, issuer, app["client_id"], secret).json()["access_token"]
    bearer = {"authorization": f"Bearer {good}"}
    story.step("a fresh token is accepted", lambda: _expect(client.post(pay_url, headers=bearer), 200))
    story.step("an expired token: refused, by the API's own clock", lambda: _expired(good, issuer))
    story.step(
        "the application is disabled: no token from that moment on",
        lambda: (
            _expect(admin.patch(f"/api/v1/applications/{app['client_id']}", json={"enabled": False}), 200),
            _expect(_token(client, issuer, app["client_id"], secret), 401, "invalid_client"),
        ),
    )


def _expired(token: str, issuer: str) -> None:
    """The same check as the payments service makes, an hour from now."""
    from watchword.resource import TokenInvalid, Verifier

    try:
        Verifier(issuer, audience=PAYMENTS, now=lambda: time.time() + 3_600).verify(token)
    except TokenInvalid as refused:
        if "expired" not in str(refused.rule):
            raise Broken(f"refused for another reason: {refused.rule}") from None
        return
    raise Broken("an expired token was accepted")


def _proof(story: Story, folder: Path, own: dict[str, str]) -> None:
    story.chapter("7. And all of it is on record")

    def verify() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "watchword.cli", "audit", "verify", "--json"],
            env={**os.environ, **own}, cwd=folder, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode != 0 or json.loads(done.stdout)["breaks"]:
            raise Broken(done.stderr.decode()[-300:])

    story.step("watchword audit verify: every chain of the audit log holds", verify)
