"""The client side of the feed of revocations, against answers of every kind."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.unit.resource.test_verifier import API, ISSUER, NOW, claims, signed
from tests.unit.resource.test_verifier import World as Issuing

from watchword.resource import Fetch, Issuer, RevocationsUnknown, TokenInvalid, Verifier
from watchword.resource.feed import RevocationFeed

EMPTY = {"revocations": [], "cursor": "1", "more": False}


class World:
    """A feed, its clock, and what the issuer says next."""

    def __init__(self, answer: Any = EMPTY, **options: Any) -> None:
        self.time, self.answer, self.cursors = NOW, answer, []
        self.feed = RevocationFeed(
            ISSUER, audience=API, client_id="me", client_secret="s3cret", now=lambda: self.time,
            transport=httpx.MockTransport(self), **options,
        )  # fmt: skip
        self.verifier = Verifier(
            Issuer(ISSUER, revocations=self.feed),
            audience=API,
            now=lambda: self.time,
            fetch=Fetch(transport=httpx.MockTransport(Issuing())),
        )
        self.cursors: list[str]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.cursors.append(request.content.decode())
        return httpx.Response(200, json=self.answer) if isinstance(self.answer, dict) else self.answer


HOSTILE: dict[str, Any] = {
    "not a page": {"revocations": []},
    "a list": httpx.Response(200, json=[]),
    "HTML": httpx.Response(200, html="<html>"),
    "refused": httpx.Response(400, json={"error": "invalid_target"}),
    "redirect": httpx.Response(302, headers={"location": "https://evil"}),
    "cursor a number": {**EMPTY, "cursor": 1},
    "more a text": {**EMPTY, "more": "false"},
    "jti a number": {**EMPTY, "revocations": [{"jti": 1, "exp": int(NOW) + 9}]},
    "exp a text": {**EMPTY, "revocations": [{"jti": "1", "exp": "9"}]},
    "exp true": {**EMPTY, "revocations": [{"jti": "1", "exp": True}]},
    "enabled a number": {
        **EMPTY,
        "revocations": [{"application": "x", "enabled": 1, "not_before_ms": 0, "exp": int(NOW) + 9}],
    },
    "neither": {**EMPTY, "revocations": [{"exp": 1}]},
    "no objects": {**EMPTY, "revocations": [1]},
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_says_nothing(answer: Any) -> None:
    """An answer that cannot be read would count as "nothing was revoked"."""
    world = World()
    world.feed.refresh()
    world.answer, world.time = answer, NOW + 10
    with pytest.raises(RevocationsUnknown):
        world.feed.refresh()
    assert world.verifier.verify(signed()).client_id == "app"
    world.time = NOW + 30
    with pytest.raises(RevocationsUnknown) as caught:
        world.verifier.verify(signed())
    assert (caught.value.status, "s3cret" in caught.value.rule) == (503, False)
    world.answer = EMPTY
    world.feed.refresh()
    assert "cursor=1&" in world.cursors[-1]
    assert world.verifier.verify(signed()).client_id == "app"


def test_a_remembered_token_is_checked_each_time() -> None:
    """The cache of verified tokens would hide what was revoked meanwhile."""
    world, token = World(), signed()
    world.feed.refresh()
    assert world.verifier.verify(token).client_id == "app"
    world.answer = {**EMPTY, "revocations": [{"jti": "1", "exp": int(NOW) + 300}]}
    world.feed.refresh()
    with pytest.raises(TokenInvalid, match="was revoked"):
        world.verifier.verify(token, "a:other")
    assert world.verifier.verify(signed(claims(jti="2"))).client_id == "app"


def test_what_has_expired_is_forgotten() -> None:
    """A feed of years would fill the memory."""
    world = World({**EMPTY, "revocations": [{"jti": "1", "exp": int(NOW) + 300}]})
    world.feed.refresh()
    world.time += 300 + 3_601
    world.answer = EMPTY
    world.feed.refresh()
    assert not world.feed._tokens


def test_a_clock_that_went_back() -> None:
    """A clock that is set back would make an old answer fresh for as long as it went."""
    world = World()
    world.feed.refresh()
    world.time -= 31
    with pytest.raises(RevocationsUnknown):
        world.feed.check(Issuing().verifier.verify(signed()))


def test_a_feed_that_was_stopped_goes_stale() -> None:
    """An API whose thread ended would never hear of a revocation again, and not notice."""
    world = World()
    with world.feed:
        with pytest.raises(RuntimeError):
            world.feed.start()
        world.feed.refresh()
    world.time += 30
    with pytest.raises(RevocationsUnknown):
        world.verifier.verify(signed())
    assert "s3cret" not in repr(world.feed)


def test_settings_that_make_no_sense() -> None:
    """The API's secret would go over plain HTTP, or a feed never say anything about this API's tokens."""
    with pytest.raises(ValueError, match="https"):
        RevocationFeed("http://id.example", audience=API, client_id="a", client_secret="b")
    with pytest.raises(ValueError, match="max_stale"):
        World(max_stale=0.5)
    for issuer, audience in ((ISSUER, "https://other"), (ISSUER + "2", API)):
        with pytest.raises(ValueError, match="same audience"):
            Verifier(Issuer(issuer, revocations=World().feed), audience=audience)
