"""Refusals of every kind at every endpoint, with large bodies: nothing of them waits for the collector.

It runs rarely (server/serving/worker.py), so what it would have to find is what fills a worker's memory.
"""

from __future__ import annotations

import gc
from types import FrameType, TracebackType

import httpx
from tests.support.instance import BASE, ISSUER, Instance

APPID = f"{BASE}/oauth/v4/default"
FORM = "application/x-www-form-urlencoded"
LARGE, TOO_LARGE = b"x" * 60_000, b"x" * 300_000
POSTS = [
    *(f"{ISSUER}/{path}" for path in ("token", "introspect", "revoke", "revocations")),
    *(f"{ISSUER}/{path}" for path in ("register", "enrol", "enrol/renew")),
    *(f"{APPID}/{path}" for path in ("token", "introspect", "revoke")),
    f"{BASE}/api/v1/applications", f"{BASE}/management/v4/default/applications",
]  # fmt: skip
BODIES: list[tuple[str, bytes]] = [
    (FORM, b"grant_type=client_credentials&scope=" + LARGE),
    (FORM, b"grant_type=client_credentials&client_id=a&client_secret=b&token=" + LARGE[:9_000]),
    (FORM, b"grant_type=client_credentials&client_id=a&client_assertion=" + LARGE + b"&client_assertion_type=x"),
    (FORM, b"a=%zz&" + LARGE),
    (FORM, TOO_LARGE),
    ("application/json", b"{" + LARGE),
    ("application/json", b'{"a":' + b"[" * 60_000),
    ("application/json", b'{"token": "a", "token": "b"}' + TOO_LARGE),
    ("multipart/form-data; boundary=x", b"--x\r\n" + LARGE),
    ("text/plain", LARGE),
]
HEADERS: list[dict[str, str]] = [
    {},
    {"authorization": "Basic " + "YTpi" * 1_000},
    {"authorization": "Bearer " + "a.b.c" * 100},
    {"authorization": "DPoP a.b.c", "dpop": "a.b.c"},
    {"dpop": "x" * 5_000},
    {"x-many": "x" * 30_000, "x-more": "x" * 10_000},
]


async def left_behind(ww: Instance) -> list[str]:
    """What only the collector would find, of ours, after every refusal was made once."""
    await _refused(ww)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await _refused(ww)
        gc.collect()
        return sorted({_named(each) for each in gc.garbage if _is_ours(each)})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def _refused(ww: Instance) -> None:
    for url in POSTS:
        for media, body in BODIES:
            answer = await ww.http.post(url, content=body, headers={"content-type": media})
            assert 400 <= answer.status_code < 500, (url, media, answer.status_code)
        for headers in HEADERS:
            answer = await ww.http.post(url, content=BODIES[0][1], headers={"content-type": FORM, **headers})
            assert 400 <= answer.status_code < 500, (url, headers, answer.status_code)
    await _got(ww)


async def _got(ww: Instance) -> None:
    for url in (f"{ISSUER}/forward-auth?audience=a", f"{ISSUER}/status-lists/x", f"{BASE}/api/v1/applications?limit=x"):
        for headers in HEADERS:
            answer: httpx.Response = await ww.http.get(url, headers=headers)
            assert 400 <= answer.status_code < 500, (url, headers, answer.status_code)


def _is_ours(each: object) -> bool:
    if isinstance(each, BaseException):
        return type(each).__module__.startswith("watchword.") or (each.__traceback__ is not None and _of_ours(each))
    return isinstance(each, FrameType) and "/watchword/" in each.f_code.co_filename


def _of_ours(error: BaseException) -> bool:
    found: TracebackType | None = error.__traceback__
    while found is not None:
        if "/watchword/" in found.tb_frame.f_code.co_filename:
            return True
        found = found.tb_next
    return False


def _named(each: object) -> str:
    if isinstance(each, FrameType):
        return f"frame of {each.f_code.co_qualname} ({each.f_code.co_filename.rpartition('/')[2]})"
    return f"{type(each).__name__}: {each}"[:100]
