"""Tokens for MQTT with paho-mqtt (``watchword[paho-mqtt]``).

Two ways to carry a token, chosen by the broker. `use_token` puts it in the password (3.1.1 and 5; RabbitMQ and most
others): a newer token needs a new connection. `EnhancedClient` is MQTT 5 enhanced authentication (section 4.12) with
OAUTHBEARER as its method (Mosquitto with our plugin): a newer token goes to the broker on the live connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, Literal

from paho.mqtt import MQTTException
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from watchword.sasl.client import MECHANISM, OAuthBearerClient
from watchword.sasl.errors import Malformed, SaslError
from watchword.sasl.token import TokenSource

ASK_EVERY: Final = 5.0
"""Seconds between two questions to the source, which answers from its cache until a renewal is due."""
_AUTH, _CONTINUE, _AGAIN = PacketTypes.AUTH << 4, 0x18, 0x19
_log = logging.getLogger("watchword.sasl")


def use_token(client: Client, source: TokenSource, username: str = "") -> None:
    """A valid token in the password of this and every later CONNECT, so that reconnecting works after an hour.

    Sets ``client.on_pre_connect``; one that was there is called first. If ``source`` raises, ``connect``
    raises ``ConnectionError``; paho's own reconnecting tries again.
    """
    before = client.on_pre_connect

    def renew(client: Client, userdata: Any) -> None:
        if before is not None:
            before(client, userdata)
        client.username_pw_set(username, _token(source))

    client.on_pre_connect = renew


def _token(source: TokenSource) -> str:
    """The token. Errors become OSError: paho's thread survives only that, and would otherwise never reconnect."""
    try:
        return source().value
    except Exception as error:
        raise ConnectionError(f"there is no token to connect with: {error}") from error


def enhanced(source: TokenSource, *, authzid: str = "", properties: Properties | None = None) -> Properties:
    """Properties of CONNECT: ``client.connect(host, port, properties=enhanced(auth.token))``, ``protocol=MQTTv5``.

    For a client that connects once and for a short time; `EnhancedClient` also renews.
    """
    carried = properties or Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    carried.AuthenticationMethod = MECHANISM
    carried.AuthenticationData = OAuthBearerClient(source().value, authzid=authzid).respond(b"")
    return carried


class EnhancedClient(Client):
    """A paho client that authenticates by AUTH packets, which paho 2 does not support.

    Each CONNECT carries a fresh token. While connected, the source is asked every ``ask_every`` seconds, and a new
    token is sent by AUTH (re-authentication, section 4.12.1); subscriptions stay. After a failure of the source it
    tries again. All else is as in paho: callbacks, ``connect``, ``loop_start``.

    Args:
        source: ``auth.token``; it is called in paho's thread.
        on_renewed: called when the broker has accepted a newer token.
        options: paho's own; ``client_id`` must fit the broker's rules.

    It uses three members of paho that are not public: ``_packet_queue``, ``_packet_handle``, ``_in_packet``
    (docs/decisions/0067).
    """

    def __init__(
        self,
        source: TokenSource,
        *,
        on_renewed: Callable[[], None] = lambda: None,
        ask_every: float = ASK_EVERY,
        monotonic: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, **options)
        self._source, self._on_renewed = source, on_renewed
        self._ask_every, self._monotonic = ask_every, monotonic
        self._carried = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        self._exchange: OAuthBearerClient | None = None
        self._told, self._ask_at = "", 0.0

    def connect_async(
        self,
        host: str,
        port: int = 1883,
        keepalive: int = 60,
        bind_address: str = "",
        bind_port: int = 0,
        clean_start: bool | Literal[3] = MQTT_CLEAN_START_FIRST_ONLY,
        properties: Properties | None = None,
    ) -> None:
        """Paho's; the properties are kept for every later CONNECT."""
        self._carried = properties or self._carried
        super().connect_async(host, port, keepalive, bind_address, bind_port, clean_start, self._carried)

    def reconnect(self) -> MQTTErrorCode:
        """Paho's, with a fresh token. Raises `ConnectionError` when the source has none; paho's thread tries again."""
        self._carried.AuthenticationMethod = MECHANISM
        self._carried.AuthenticationData = self._begin(_token(self._source))
        return super().reconnect()

    def loop_misc(self) -> MQTTErrorCode:
        """As in paho, about once a second; also asks the source for a newer token when it is due."""
        done = super().loop_misc()
        if self._monotonic() >= self._ask_at and self.is_connected():
            self._ask_at = self._monotonic() + self._ask_every
            self._renew()
        return done

    def _begin(self, token: str) -> bytes:
        """Begin a login; the next AUTH packet is its answer."""
        self._told, self._ask_at = token, self._monotonic() + self._ask_every
        self._exchange = OAuthBearerClient(token)
        return self._exchange.respond(b"")

    def _renew(self) -> None:
        try:
            token = self._source().value
        except Exception as error:
            _log.warning("the MQTT connection did not get a new token yet: %s", type(error).__name__)
            return
        if token != self._told:
            self._send(_AGAIN, self._begin(token))

    def _send(self, reason: int, data: bytes) -> MQTTErrorCode:
        said = Properties(PacketTypes.AUTH)  # type: ignore[no-untyped-call]
        said.AuthenticationMethod, said.AuthenticationData = MECHANISM, data
        body = bytes([reason]) + bytes(said.pack())  # type: ignore[no-untyped-call]
        length = VariableByteIntegers.encode(len(body))  # type: ignore[no-untyped-call]
        return self._packet_queue(_AUTH, bytes([_AUTH]) + length + body, 0, 0)

    def _packet_handle(self) -> MQTTErrorCode:
        if self._in_packet["command"] & 0xF0 != _AUTH:
            return super()._packet_handle()
        try:
            return self._heard(bytes(self._in_packet["packet"]))
        except (SaslError, MQTTException, LookupError, ValueError) as error:
            _log.warning("the broker's AUTH cannot be followed: %s", error)
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _heard(self, unverified: bytes) -> MQTTErrorCode:
        """Handle an AUTH packet (section 3.15): one without a reason code means success; a challenge is answered."""
        if self._exchange is None:
            raise Malformed("nobody began an authentication")
        if not unverified or unverified[0] == 0:
            self._exchange.finish(succeeded=True)
            self._on_renewed()
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        if unverified[0] != _CONTINUE:
            raise Malformed("it has a reason that no broker gives")
        said = Properties(PacketTypes.AUTH)  # type: ignore[no-untyped-call]
        said.unpack(unverified[1:])  # type: ignore[no-untyped-call]
        return self._send(_CONTINUE, self._exchange.respond(getattr(said, "AuthenticationData", b"")))
