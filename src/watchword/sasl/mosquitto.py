"""Mosquitto 2: authenticate logins for the plugin (``contrib/mosquitto``), and turn scopes into topic permissions.

The plugin asks over a Unix socket; each question has one answer. `read_login` and `admit` are pure functions. `Gate` is
the service around them: ``watchword broker-auth mosquitto``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from watchword.sasl.errors import Malformed, NotAuthorized, SaslError
from watchword.sasl.rights import Bearer, Rights, read_rights
from watchword.sasl.server import Challenge, OAuthBearerServer, Verified

WORD: Final = "mqtt"
REFUSED: Final = b"no\n"
MAX_ANSWER: Final = 65_000
"""Bytes that the plugin reads of an answer."""
PATIENCE: Final = 2.0
"""Seconds in which a question must be complete; the broker is blocked while it waits for our answer."""
_PASSWORD, _SASL, _WATCH = b"p", b"s", b"w"
_log = logging.getLogger("watchword.sasl")


class Admitted(Bearer, Verified, Protocol):
    """The claims that the verifier must return, such as `watchword.resource.Claims`."""


B = TypeVar("B", bound=Admitted)


@dataclass(frozen=True, slots=True)
class Login:
    """One login that the broker asks about. ``enhanced``: the credential is a message of SASL OAUTHBEARER, else a
    token. ``client_id`` is MQTT's, as the client chose it."""

    unverified_client_id: str
    unverified_credential: bytes = field(repr=False)
    enhanced: bool = False


def read_login(kind: bytes, unverified_client_id: bytes, unverified_credential: bytes) -> Login:
    """Raises `Malformed`."""
    if kind not in (_PASSWORD, _SASL):
        raise Malformed("the question is of no kind that the plugin asks")
    try:
        return Login(unverified_client_id.decode("utf-8"), unverified_credential, kind == _SASL)
    except UnicodeDecodeError:
        raise Malformed("the MQTT client id is not UTF-8") from None


def admit(login: Login, bearer: Bearer) -> bytes:
    """Accept: allow the topics of the scopes ``mqtt.pub:FILTER`` and ``mqtt.sub:FILTER`` until the token expires.

    Raises:
        NotAuthorized: no scope names a topic, or the MQTT client id is not the application's own: with the id of
            another client it would take over that client's session (MQTT 5 section 3.1.4).
    """
    if not is_own(login.unverified_client_id, bearer.client_id):
        raise NotAuthorized(f"the MQTT client id must be {bearer.client_id}, alone or with a slash and more behind it")
    rights = read_rights(bearer.scopes, WORD)
    if not rights:
        raise NotAuthorized("the token has no scope mqtt.pub: or mqtt.sub:")
    if wrong := [one for one in (*rights.publish, *rights.subscribe) if not is_filter(one)]:
        raise NotAuthorized(f"the scope for {wrong[0]!a} names no MQTT topic filter")
    answer = _yes(rights, bearer.expires_at)
    if len(answer) > MAX_ANSWER:
        raise NotAuthorized(f"the token's topics have more than {MAX_ANSWER} bytes: use wildcards")
    return answer


def _yes(rights: Rights, until: float) -> bytes:
    lines = [
        f"yes {int(until)}",
        *(f"pub {one}" for one in rights.publish),
        *(f"sub {one}" for one in rights.subscribe),
    ]
    return "\n".join([*lines, "end", ""]).encode()


def is_own(mqtt_client_id: str, client_id: str) -> bool:
    """An application's MQTT client ids are its client id, and that with a slash and printable characters behind it."""
    own = mqtt_client_id == client_id or mqtt_client_id.startswith(f"{client_id}/")
    return own and mqtt_client_id.isprintable()


def is_filter(text: str) -> bool:
    """Whether it is a topic filter (MQTT 5 section 4.7): ``+`` matches one level, ``#`` all levels from there on.

    A shared subscription needs no permission of its own: the plugin asks about the filter behind ``$share/GROUP/``.
    """
    levels = text.split("/")
    return (
        bool(text) and text.isprintable() and levels[0] != "$share"
        and all(
            (level == "+" or "+" not in level) and ("#" not in level or (level == "#" and at == len(levels)))
            for at, level in enumerate(levels, 1)
        )
    )  # fmt: skip


class Gate(Generic[B]):
    """Answers the plugin of one broker or several, and ends logins whose token was revoked.

    Args:
        averify: `watchword.resource.Verifier.averify`, or anything whose refusals have ``error``.
        check: raises such a refusal for a token that has been revoked (``RevocationFeed.check``); None: logins last
            until their token expires.
        now: Unix seconds.
    """

    def __init__(
        self,
        averify: Callable[[str], Awaitable[B]],
        *,
        now: Callable[[], float],
        check: Callable[[B], None] | None = None,
    ) -> None:
        self._averify, self._now, self._check = averify, now, check
        self._live: dict[str, B] = {}
        self._watchers: set[asyncio.StreamWriter] = set()

    async def answer(self, login: Login) -> bytes:
        """The answer to one question. Every failure is a refusal; the reason is logged: MQTT cannot carry it."""
        try:
            verified = await self._judged(login)
            if isinstance(verified, Challenge):
                return b"ask\n" + verified.data
            answer = admit(login, verified)
        except Exception as error:
            _note(login, error)
            return REFUSED
        self._live[login.unverified_client_id] = verified
        return answer

    async def _judged(self, login: Login) -> B | Challenge:
        if not login.enhanced:
            return await self._averify(login.unverified_credential.decode("ascii", "replace"))
        exchange = OAuthBearerServer(averify=self._averify)
        outcome = await exchange.arespond(login.unverified_credential)
        return outcome if isinstance(outcome, Challenge) else outcome.verified

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the plugin, for ``asyncio.start_unix_server``."""
        try:
            async with asyncio.timeout(PATIENCE):
                kind, client_id, credential = await _question(reader)
            if kind == _WATCH:
                await self._watched(reader, writer)
                return
            writer.write(await self.answer(read_login(kind, client_id, credential)))
            await writer.drain()
        except (Malformed, asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            _log.warning("a question of the broker's is dropped: %s", error)
        finally:
            writer.close()

    async def _watched(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._watchers.add(writer)
        try:
            await reader.read(1)
        finally:
            self._watchers.discard(writer)

    async def end_the_revoked(
        self, *, every: float = 0.5, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Check all live logins for revocation periodically, until cancelled; the plugin ends revoked ones.

        One check costs about a microsecond per login. Logins that another process accepted are not known here.
        """
        while True:
            await sleep(every)
            self.end_once()

    def end_once(self) -> None:
        """Check all live logins once."""
        now = self._now()
        for client_id in [one for one, bearer in self._live.items() if now >= bearer.expires_at]:
            del self._live[client_id]
        if not self._watchers:
            return  # no plugin is connected: keep the revoked logins, so that the next one is told
        for client_id in [one for one, bearer in self._live.items() if self._is_revoked(bearer)]:
            del self._live[client_id]
            _log.info("the login of %s ends: its token was revoked", client_id)
            for writer in self._watchers:
                writer.write(f"{client_id}\n".encode())

    def _is_revoked(self, bearer: B) -> bool:
        """Whether the token was revoked. When that is unknown (503) the login continues until the token expires."""
        if self._check is None:
            return False
        try:
            self._check(bearer)
        except Exception as error:
            return getattr(error, "error", None) == "invalid_token"
        return False


async def _question(reader: asyncio.StreamReader) -> tuple[bytes, bytes, bytes]:
    kind = await reader.readexactly(1)
    client_id = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    credential = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    return kind, client_id, credential


def _note(login: Login, error: Exception) -> None:
    if isinstance(error, SaslError) or isinstance(getattr(error, "error", None), str):
        _log.info("the login of %a is refused: %s", login.unverified_client_id, error)
    else:
        _log.error("the login of %a could not be judged", login.unverified_client_id, exc_info=error)
