"""Secrets, clients' keys and signing keys turn in every order, on two workers that end and come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.assertions import Caller, refused
from tests.support.instance import ISSUER, Instance
from tests.support.workers import EITHER, TwoWorkers, in_every_order

from watchword.jose import Algorithm, KeySet, PrivateKey, decode_unverified, verify_signature
from watchword.server.keys.model import SigningKey

AHEAD = 600
LIFE = 3_600
TYP = {"at+jwt"}
ALLOWED = {("next", "active"), ("active", "retiring"), ("retiring", "gone")}
"""Of a key that nobody withdrew."""


@dataclass
class Given:
    """A token, and what ends it."""

    text: str
    kid: str
    ends: float


class Rotation(TwoWorkers):
    """One application with secrets, one with keys, and the tenant's signing keys."""

    SETTINGS: ClassVar[dict[str, Any]] = {"key_publish_ahead": AHEAD, "key_rotation_period": 86_400}

    async def set_up(self) -> None:
        """Tokens live an hour; the administrator may introspect them."""
        api = await self.ww.api("https://rs1.example/", "a:read", lifetime=LIFE)
        changed = await self.ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [self.ww.admin[0]]})
        assert changed.status_code == 200, changed.text
        app = await self.ww.application("caller", api, "a:read")
        self.client_id = app["client_id"]
        self.secrets: list[tuple[str, float | None]] = [(app["client_secret"], None)]
        self.pkj = await Caller.register(self.ww, api, "c_pkj")
        self.client_keys: list[PrivateKey] = [self.pkj.key]
        self.former_keys: list[PrivateKey] = []
        self.tokens: list[Given] = []
        self.withdrawn: set[str] = set()
        self.seen = await self.kept()

    async def kept(self) -> dict[str, SigningKey]:
        """The signing keys that the database has, by kid."""
        state = await self.ww.services.storage.reader.tenant("default", 0.0)
        assert state is not None
        return {key.kid: key for key in state.keys}

    async def changed(self) -> None:
        """Both have read the feed, as they do within a second."""
        for worker in (self.ww, *self.workers):
            await worker.services.view.refresh()

    def live(self) -> list[str]:
        now = self.ww.clock.now
        return [secret for secret, ends in self.secrets if ends is None or now < ends]

    # -- secrets ----------------------------------------------------------------------------------

    @rule(n=EITHER, overlap=st.sampled_from([0, 1, 60, 3_600]))
    def turn_the_secret(self, n: int, overlap: int) -> None:
        """The youngest of the older ones works until the overlap ends, all others end."""
        path = f"/applications/{self.client_id}/secrets"
        answer = self.run(self.workers[n].call("POST", path, {"overlap": overlap}))
        assert answer.status_code == 201, answer.text
        now, living = self.ww.clock.now, set(self.live())
        youngest = [one for one in self.secrets if one[0] in living][-1:]
        over = {secret: min(ends or now + overlap, now + overlap) for secret, ends in youngest if overlap}
        self.secrets = [(secret, over.get(secret, now)) for secret, _ in self.secrets]
        self.secrets.append((answer.json()["client_secret"], None))
        self.run(self.changed())

    @rule(n=EITHER, data=st.data())
    def ask_with_a_secret(self, n: int, data: st.DataObject) -> None:
        """Any that ever was."""
        secret = self.secrets[-1 - data.draw(st.integers(0, min(3, len(self.secrets) - 1)))][0]
        answer = self.run(self.workers[n].token((self.client_id, secret)))
        if secret in self.live():
            self.take(answer)
        else:
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

    # -- a client's keys --------------------------------------------------------------------------

    @rule(n=EITHER)
    def add_a_client_key(self, n: int) -> None:
        """It works beside the others."""
        if len(self.client_keys) > 3:
            return
        key = PrivateKey.generate(Algorithm.ES256)
        path = f"/applications/{self.pkj.client_id}/keys"
        answer = self.run(self.workers[n].call("POST", path, {"jwk": key.public.to_jwk()}))
        assert answer.status_code == 201, answer.text
        self.client_keys.append(key)
        self.run(self.changed())

    @precondition(lambda self: len(self.client_keys) > 1)
    @rule(n=EITHER)
    def remove_a_client_key(self, n: int) -> None:
        """The oldest."""
        key = self.client_keys.pop(0)
        path = f"/applications/{self.pkj.client_id}/keys/{key.kid}"
        assert self.run(self.workers[n].call("DELETE", path)).status_code == 204
        self.former_keys.append(key)
        self.run(self.changed())

    @rule(n=EITHER, data=st.data())
    def ask_with_a_key(self, n: int, data: st.DataObject) -> None:
        """Any that ever was."""
        known = [*self.client_keys, *self.former_keys]
        key = known[data.draw(st.integers(0, len(known) - 1))]
        self.pkj.key = key
        answer = self.run(self.pkj.send(self.pkj.assertion(), ww=self.workers[n]))
        if key in self.client_keys:
            self.take(answer)
        else:
            refused(answer)

    # -- signing keys -----------------------------------------------------------------------------

    def take(self, answer: Any) -> None:
        """A token is signed by a key that had been published, and by the one that signs now."""
        assert answer.status_code == 200, answer.text
        text = answer.json()["access_token"]
        kid = str(decode_unverified(text).unverified_header["kid"])
        assert self.seen[kid].state == "active"
        self.tokens.append(Given(text, kid, self.ww.clock.now + LIFE))

    def look(self) -> None:
        """Keys went the one way only: published for long enough before they sign, kept until their last token ended."""
        now, before = self.ww.clock.now, self.seen
        self.seen = self.run(self.kept())
        for kid, key in before.items():
            after = self.seen.get(kid)
            state = "gone" if after is None else after.state
            if state == key.state or kid in self.withdrawn:
                continue
            assert (key.state, state) in ALLOWED, (kid, key.state, state)
            if state == "active" and not self.lost:
                assert now >= key.published_at + AHEAD
            if state == "gone":
                assert not [token for token in self.tokens if token.kid == kid and now < token.ends]
        self.lost = False

    lost = False
    """The key that signed was withdrawn: the next one signs at once, known to verifiers or not."""

    @rule(n=EITHER)
    def turn_the_signing_key(self, n: int) -> None:
        """By hand: never to a key that a verifier may not know yet."""
        following = next(k for k in self.seen.values() if (k.algorithm, k.state) == ("ES256", "next"))
        answer = self.run(self.workers[n].call("POST", "/keys/rotate", {"algorithm": "ES256"}))
        ready = self.ww.clock.now >= following.published_at + AHEAD
        assert answer.status_code == (200 if ready else 409), answer.text
        self.run(self.changed())
        self.look()
        if ready:
            assert self.seen[following.kid].state == "active"

    @rule(n=EITHER, data=st.data())
    def withdraw_a_signing_key(self, n: int, data: st.DataObject) -> None:
        """What it signed is worth nothing from now on."""
        there = sorted(kid for kid, key in self.seen.items() if key.state != "gone" and key.algorithm == "ES256")
        kid = data.draw(st.sampled_from(there))
        self.lost = self.seen[kid].state == "active"
        assert self.run(self.workers[n].call("DELETE", f"/keys/{kid}")).status_code == 204
        self.withdrawn.add(kid)
        self.run(self.changed())
        self.look()

    @rule(seconds=st.sampled_from([1, 59, 60, AHEAD, LIFE - 1, LIFE, 86_400, 87_000]), n=EITHER)
    def time_passes(self, seconds: int, n: int) -> None:
        """The chores run, on one worker."""
        self.ww.clock.now += seconds
        self.run(self.workers[n].services.upkeep.housekeeping.rotate_keys())
        self.run(self.changed())
        self.look()

    @precondition(lambda self: self.tokens)
    @rule(n=EITHER, data=st.data())
    def introspect(self, n: int, data: st.DataObject) -> None:
        """Any token that ever was."""
        token = self.tokens[data.draw(st.integers(0, len(self.tokens) - 1))]
        told = self.run(self.workers[n].introspect(self.ww.admin, token.text))
        good = self.ww.clock.now < token.ends and token.kid not in self.withdrawn
        assert told["active"] is good, told

    @invariant()
    def everybody_can_verify_what_is_worth_something(self) -> None:
        """At each worker's JWK set: tokens that are good, and none by a withdrawn key. One key signs, one stands ready."""
        if not hasattr(self, "seen"):
            return
        states = sorted(k.state for k in self.seen.values() if k.algorithm == "ES256" and k.state in ("next", "active"))
        assert states == ["active", "next"]
        for worker in self.workers:
            keys = self.run(self.published(worker))
            assert not self.withdrawn & set(keys)
            for token in self.tokens[-10:]:
                if self.ww.clock.now < token.ends and token.kid not in self.withdrawn:
                    verify_signature(token.text, keys, algorithms={Algorithm.ES256}, typ=TYP)

    async def published(self, worker: Instance) -> KeySet:
        """As an API gets them."""
        return KeySet.parse((await worker.http.get(f"{ISSUER}/jwks")).content)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_rotations_in_every_order(database: str, request: pytest.FixtureRequest) -> None:
    """Some order of rotations, withdrawals, restarts and clocks would be an outage, or leave alive what was ended."""
    in_every_order(Rotation, database, request)
