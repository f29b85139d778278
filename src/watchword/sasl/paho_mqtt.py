"""Tokens for MQTT with paho-mqtt (``watchword[paho-mqtt]``).

Two ways to carry a token, chosen by the broker. `use_token` puts it in the password (3.1.1 and 5; RabbitMQ and most
others). `enhanced` is MQTT 5 enhanced authentication (section 4.12) with OAUTHBEARER as its method; paho 2.2 cannot
answer an AUTH packet, so a refusal shows as a closed connection and not as the broker's reason.
"""

from __future__ import annotations

from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from watchword.sasl.client import MECHANISM, OAuthBearerClient
from watchword.sasl.token import TokenSource


def use_token(client: Client, source: TokenSource, username: str = "") -> None:
    """A valid token in the password of this and every later CONNECT, so that reconnecting works after an hour.

    Sets ``client.on_pre_connect``; one that was there is called first. What ``source`` raises ends ``connect``;
    while paho reconnects by itself, it logs it and tries again.
    """
    before = client.on_pre_connect

    def renew(client: Client, userdata: Any) -> None:
        if before is not None:
            before(client, userdata)
        client.username_pw_set(username, source().value)

    client.on_pre_connect = renew


def enhanced(source: TokenSource, *, authzid: str = "", properties: Properties | None = None) -> Properties:
    """``client.connect(host, port, properties=enhanced(auth.token))``; for ``Client(protocol=MQTTv5)``.

    paho keeps them for its own reconnects: when the token has expired, call ``connect`` with new ones.
    """
    carried = properties or Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    carried.AuthenticationMethod = MECHANISM
    carried.AuthenticationData = OAuthBearerClient(source().value, authzid=authzid).respond(b"")
    return carried
