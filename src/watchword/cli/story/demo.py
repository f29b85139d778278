"""`watchword demo`: the airline story end to end, on throwaway state, narrated.

Four processes on loopback (Watchword, payments, reservations, and this one as the dashboard). Exit
0 only if every step held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import typer

from .. import say
from .airline import CHARGE, PAYMENTS
from .stage import Broken, Cast, Scene, Story, expect, free_port, until


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
    scene = Scene(
        story=story, folder=folder, stack=stack, port=free_port(), pay_port=free_port(), book_port=free_port()
    )
    admin = _serving(scene)
    cast = _registered(scene, admin, stack.enter_context(httpx.Client(timeout=10, trust_env=False)))
    _booking(scene, cast)
    _refusals(scene, cast)
    _rotation(scene, cast)
    _expiry(scene, cast)
    _proof(scene)


def _serving(scene: Scene) -> httpx.Client:
    scene.story.chapter("1. An issuer of your own")
    command = [sys.executable, "-m", "watchword.cli", "serve"]
    scene.story.step(
        "watchword serve: database, master key, signing keys and first administrator made; serving",
        lambda: scene.start(command, scene.own, f"{scene.base}/health/ready"),
    )
    admin: httpx.Client = scene.story.step(
        "the administrator is an application too: it gets its token as any other does",
        lambda: _admin(scene.folder, scene.base),
    )
    return admin


def _registered(scene: Scene, admin: httpx.Client, dashboard: httpx.Client) -> Cast:
    scene.story.chapter("2. Who may ask for what")
    api = scene.story.step(
        f"payments becomes an API, {PAYMENTS}, with {CHARGE} and payments:refund",
        lambda: expect(
            admin.post("/api/v1/apis", json={
                "identifier": PAYMENTS, "name": "Payments",
                "scopes": [{"name": CHARGE}, {"name": "payments:refund"}], "tokens": {"lifetime": 60},
            }), 201).json(),
    )  # fmt: skip
    app = scene.story.step(
        "the reservation service is registered and granted payments:charge; its secret is shown once",
        lambda: expect(
            admin.post("/api/v1/applications", json={
                "name": "reservations", "grants": [{"api_id": api["api_id"], "scopes": [CHARGE]}],
            }), 201, "wwsec_").json(),
    )  # fmt: skip
    _write(scene.secret_file, app["client_secret"])
    return Cast(admin=admin, api=api, app=app, dashboard=dashboard)


def _write(file: Path, secret: str) -> None:
    """In one step, for its owner alone: a reader sees the old secret or the new one."""
    fresh = file.with_suffix(".new")
    fresh.write_text(secret)
    fresh.chmod(0o600)
    fresh.replace(file)


def _booking(scene: Scene, cast: Cast) -> None:
    scene.story.chapter("3. dashboard -> reservation service -> payments service")
    module = [sys.executable, "-m", "watchword.cli.story.airline"]
    scene.story.step(
        "the payments service starts; all it knows is the issuer and its own name",
        lambda: scene.start(
            [*module, "payments", str(scene.pay_port)], {"WATCHWORD_ISSUER": scene.issuer}, scene.pay_url
        ),
    )
    booking = {
        "WATCHWORD_ISSUER": scene.issuer, "WATCHWORD_CLIENT_ID": cast.client_id,
        "WATCHWORD_CLIENT_SECRET_FILE": str(scene.secret_file), "PAYMENTS_URL": scene.pay_url,
    }  # fmt: skip
    scene.story.step(
        "the reservation service starts, and books: it obtained its token as itself, payments accepted it",
        lambda: scene.start([*module, "reservations", str(scene.book_port)], booking, scene.book_url),
    )
    scene.story.step(
        "the dashboard books a seat",
        lambda: expect(cast.dashboard.post(scene.book_url), 200, '"booked": true'),
    )


def _admin(folder: Path, base: str) -> httpx.Client:
    import tomllib

    from watchword.client import ClientCredentials

    known = tomllib.loads((folder / "profile.toml").read_text())
    auth = ClientCredentials(
        known["issuer"], known["client_id"], known["client_secret"], resource="urn:watchword:admin"
    )
    client = httpx.Client(base_url=base, auth=auth, timeout=10, trust_env=False)
    expect(client.get("/api/v1/applications"), 200, "administrator")
    return client


def _token(client: httpx.Client, issuer: str, client_id: str, secret: str, **more: str) -> httpx.Response:
    form = {"grant_type": "client_credentials", "resource": PAYMENTS, **more}
    return client.post(f"{issuer}/token", data=form, auth=(client_id, secret))


def _refusals(scene: Scene, cast: Cast) -> None:
    story, client, pay_url = scene.story, cast.dashboard, scene.pay_url
    story.chapter("4. Refused, as it should be")
    story.step("no token: 401", lambda: expect(client.post(pay_url), 401))
    story.step(
        "a scope that was not granted: 400 invalid_scope, never silently narrowed",
        lambda: expect(
            _token(client, scene.issuer, cast.client_id, cast.app["client_secret"], scope="payments:refund"),
            400,
            "invalid_scope",
        ),
    )
    other = _refund_token(scene, cast)
    story.step(
        "a token with another scope: 403 insufficient_scope",
        lambda: expect(client.post(pay_url, headers={"authorization": f"Bearer {other}"}), 403, "insufficient_scope"),
    )
    tampered = other[:-6] + ("AAAAAA" if other[-6:] != "AAAAAA" else "BBBBBB")
    story.step(
        "a forged signature: 401 invalid_token",
        lambda: expect(client.post(pay_url, headers={"authorization": f"Bearer {tampered}"}), 401, "invalid_token"),
    )


def _refund_token(scene: Scene, cast: Cast) -> str:
    """A token of another application, which may refund and not charge."""
    grants = [{"api_id": cast.api["api_id"], "scopes": ["payments:refund"]}]
    refunds = expect(
        cast.admin.post("/api/v1/applications", json={"name": "refund desk", "grants": grants}), 201
    ).json()
    answer = _token(cast.dashboard, scene.issuer, refunds["client_id"], refunds["client_secret"])
    return str(answer.json()["access_token"])


@contextmanager
def _traffic(url: str) -> Iterator[list[int]]:
    """Bookings one after the other, in another thread; yields the status of each as they come."""
    stop, answers = threading.Event(), list[int]()

    def book() -> None:
        with httpx.Client(timeout=10, trust_env=False) as own:
            while not stop.is_set():
                answers.append(own.post(url).status_code)

    thread = threading.Thread(target=book)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def _rotation(scene: Scene, cast: Cast) -> None:
    story = scene.story
    story.chapter("5. Secrets rotate under traffic, and nobody notices")
    old = cast.app["client_secret"]
    with _traffic(scene.book_url) as answers:
        for number in (1, 2, 3):
            old = story.step(
                f"rotation {number}: a new secret; the older one keeps working for its overlap",
                lambda: _rotated(scene, cast, answers),
            )
    story.step(f"{len(answers)} bookings meanwhile, none failed", lambda: _none_failed(answers))
    story.step("the older secret is revoked: it is refused from that moment on", lambda: _cut(scene, cast, old))


def _rotated(scene: Scene, cast: Cast, answers: list[int]) -> str:
    """Rotate, and wait until bookings went on; the older secret."""
    old = scene.secret_file.read_text()
    made = expect(cast.change("POST", "/secrets", json={"overlap": 600}), 201).json()
    _write(scene.secret_file, made["client_secret"])
    seen = len(answers)
    until(lambda: len(answers) > seen + 20)
    return old


def _none_failed(answers: list[int]) -> None:
    failed = [status for status in answers if status != 200]
    if failed:
        raise Broken(f"{len(failed)} of {len(answers)} calls failed")


def _cut(scene: Scene, cast: Cast, old: str) -> None:
    """Revoke every secret but the newest, and try an older one."""
    for kept in expect(cast.change("GET"), 200).json()["secrets"][:-1]:
        expect(cast.change("DELETE", f"/secrets/{kept['id']}"), 204)
    expect(_token(cast.dashboard, scene.issuer, cast.client_id, old), 401, "invalid_client")


def _expiry(scene: Scene, cast: Cast) -> None:
    story, client, issuer = scene.story, cast.dashboard, scene.issuer
    story.chapter("6. Tokens end")
    secret = scene.secret_file.read_text()
    good = _token(client, issuer, cast.client_id, secret).json()["access_token"]
    bearer = {"authorization": f"Bearer {good}"}
    story.step("a fresh token is accepted", lambda: expect(client.post(scene.pay_url, headers=bearer), 200))
    story.step("an expired token: refused, by the API's own clock", lambda: _expired(good, issuer))
    story.step(
        "the application is disabled: no token from that moment on",
        lambda: (
            expect(cast.change("PATCH", json={"enabled": False}), 200),
            expect(_token(client, issuer, cast.client_id, secret), 401, "invalid_client"),
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


def _proof(scene: Scene) -> None:
    scene.story.chapter("7. And all of it is on record")

    def verify() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "watchword.cli", "audit", "verify", "--json"],
            env={**os.environ, **scene.own}, cwd=scene.folder, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode != 0 or json.loads(done.stdout)["breaks"]:
            raise Broken(done.stderr.decode()[-300:])

    scene.story.step("watchword audit verify: every chain of the audit log holds", verify)
