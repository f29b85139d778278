"""NATS auth callout: authenticate logins for the server, turn scopes into subject permissions (``watchword[nats]``).

The server sends a request on ``$SYS.REQ.USER.AUTH``; the answer is signed by the account key that its configuration
names. The answer has a user JWT with the client's permissions, which expires with the token. `Callout` is pure; `serve`
is the service around it: ``watchword broker-auth nats``.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from watchword.jose import Algorithm, JoseError, PublicKey, decode_unverified
from watchword.jose.encoding import b64url
from watchword.sasl.errors import Malformed
from watchword.sasl.rights import Bearer, Rights, read_rights

SUBJECT: Final = "$SYS.REQ.USER.AUTH"
QUEUE: Final = "watchword"
"""Several responders share the work: each request goes to one of them."""
WORD: Final = "nats"
MAX_REQUEST: Final = 65_536
NO_LIMIT: Final = -1
_HEADER: Final = b64url(b'{"typ":"JWT","alg":"ed25519-nkey"}')
_SERVER: Final = 13 << 3
"""The first byte of a server's public nkey, which makes it begin with N."""
_log = logging.getLogger("watchword.sasl")


class SigningKey(Protocol):
    """An account's `nkeys.KeyPair`."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, input: bytes) -> bytes: ...


class _Options(msgspec.Struct):
    auth_token: str = ""
    password: str = msgspec.field(name="pass", default="")


class _Server(msgspec.Struct):
    id: str


class _Asked(msgspec.Struct):
    server_id: _Server
    user_nkey: str
    connect_opts: _Options = msgspec.field(default_factory=_Options)


class _Request(msgspec.Struct):
    iss: str
    aud: str
    nats: _Asked


@dataclass(frozen=True, slots=True)
class Login:
    """One login that a server asks about. ``server`` vouched for it with its own key, and that key is new at each
    start: who may ask at all is who may publish in the callout's account."""

    server: str
    user: str
    unverified_token: str = field(repr=False)


def read_login(unverified_request: bytes) -> Login:
    """The server's question (a JWT of the NATS kind, ``ed25519-nkey``).

    Raises:
        Malformed: not signed by the server that it names, not for an auth callout, or encrypted (xkey).
    """
    if len(unverified_request) > MAX_REQUEST:
        raise Malformed(f"the request has more than {MAX_REQUEST} bytes")
    try:
        parts = decode_unverified(unverified_request.decode("ascii"), MAX_REQUEST)
        asked = msgspec.json.decode(parts.unverified_payload, type=_Request)
        _server_key(asked.iss).verify(parts.signing_input, parts.signature)
    except (UnicodeDecodeError, msgspec.MsgspecError, JoseError) as error:
        raise Malformed("the request is not a server's own (an xkey in its configuration is not served)") from error
    if asked.aud != "nats-authorization-request" or asked.iss != asked.nats.server_id.id:
        raise Malformed("the request is not one of an auth callout")
    options = asked.nats.connect_opts
    return Login(asked.iss, asked.nats.user_nkey, options.auth_token or options.password)


def _server_key(unverified_name: str) -> PublicKey:
    """base32 of a kind, 32 bytes of Ed25519 and their CRC-16."""
    try:
        raw = base64.b32decode(unverified_name)
    except (binascii.Error, ValueError):
        raise Malformed("the issuer is not an nkey") from None
    body, checksum = raw[:-2], raw[-2:]
    if len(body) != 33 or body[0] != _SERVER or binascii.crc_hqx(body, 0).to_bytes(2, "little") != checksum:
        raise Malformed("the issuer is not a server's nkey")
    return PublicKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64url(body[1:]).decode(), "alg": Algorithm.EdDSA})


class Callout:
    """Makes the answers, signed by the key of the account that the server's configuration names as issuer.

    Args:
        key: an account's nkey. ``account``: the account of the clients.
    """

    def __init__(self, key: SigningKey, account: str) -> None:
        self._key, self._account = key, account
        self._name = bytes(key.public_key).decode("ascii")

    def admit(self, login: Login, bearer: Bearer, *, now: float, token_id: str) -> bytes:
        """Accept: allow the subjects of the scopes ``nats.pub:SUBJECT`` and ``nats.sub:SUBJECT`` until token expiry."""
        rights = read_rights(bearer.scopes, WORD)
        if wrong := [s for s in (*rights.publish, *rights.subscribe) if not is_subject(s)]:
            return self.refuse(login, f"the scope for {wrong[0]!a} names no NATS subject", now=now, token_id=token_id)
        if not rights:
            return self.refuse(login, "the token has no scope nats.pub: or nats.sub:", now=now, token_id=token_id)
        user = {
            "aud": self._account, "exp": int(bearer.expires_at), "iat": int(now), "iss": self._name, "jti": token_id,
            "name": bearer.client_id, "sub": login.user, "nats": _user(rights),
        }  # fmt: skip
        return self._answer(login, {"jwt": self._sign(user).decode("ascii")}, now, token_id)

    def refuse(self, login: Login, why: str, *, now: float, token_id: str) -> bytes:
        """Refuse. The server logs ``why``; the client sees only an authorization violation."""
        return self._answer(login, {"error": why}, now, token_id)

    def _answer(self, login: Login, outcome: dict[str, str], now: float, token_id: str) -> bytes:
        said = {"type": "authorization_response", "version": 2, **outcome}
        return self._sign(
            {"aud": login.server, "iat": int(now), "iss": self._name, "jti": token_id, "sub": login.user, "nats": said}
        )

    def _sign(self, claims: dict[str, Any]) -> bytes:
        message = b".".join((_HEADER, b64url(json.dumps(claims, separators=(",", ":")).encode())))
        return b".".join((message, b64url(self._key.sign(message))))


def is_subject(text: str) -> bool:
    """Whether NATS takes it as a subject with wildcards: ``*`` matches one part, ``>`` all remaining parts."""
    parts = text.split(".")
    return all(
        part and part.isprintable() and " " not in part and (part == "*" or "*" not in part)
        and (">" not in part or (part == ">" and at == len(parts)))
        for at, part in enumerate(parts, 1)
    )  # fmt: skip


def _user(rights: Rights) -> dict[str, Any]:
    return {
        "type": "user", "version": 2, "subs": NO_LIMIT, "data": NO_LIMIT, "payload": NO_LIMIT,
        "pub": _permission(rights.publish), "sub": _permission(rights.subscribe),
    }  # fmt: skip


def _permission(subjects: tuple[str, ...]) -> dict[str, list[str]]:
    """The permission object. An empty list would allow everything in NATS, so no pattern becomes "deny all"."""
    return {"allow": list(subjects)} if subjects else {"deny": [">"]}


async def serve(
    connection: Client,
    callout: Callout,
    averify: Callable[[str], Awaitable[Bearer]],
    *,
    now: Callable[[], float],
    new_id: Callable[[], str],
) -> None:
    """Answer over this connection until it is closed.

    ``averify`` is `watchword.resource.Verifier.averify`, or anything whose refusals have ``error``. Any other exception
    is a refusal too, and is logged as a fault.
    """

    async def judge(login: Login) -> bytes:
        try:
            bearer = await averify(login.unverified_token)
        except Exception as error:
            _note(login, error)
            return callout.refuse(login, _public(error), now=now(), token_id=new_id())
        return callout.admit(login, bearer, now=now(), token_id=new_id())

    async def answer(message: Msg) -> None:
        try:
            login = read_login(message.data)
        except Malformed as error:
            _log.warning("a request of the auth callout is dropped: %s", error)
            return
        await message.respond(await judge(login))

    await connection.subscribe(SUBJECT, queue=QUEUE, cb=answer)
    await connection.flush()


def _note(login: Login, error: Exception) -> None:
    if isinstance(getattr(error, "error", None), str):
        _log.info("a login at %s is refused: %s", login.server, error)
    else:
        _log.error("a login at %s could not be judged", login.server, exc_info=error)


def _public(error: Exception) -> str:
    """The reason for the broker's log: the public text of the verifier."""
    public = getattr(error, "public", None)
    return public if isinstance(public, str) and public else "the login could not be judged"
