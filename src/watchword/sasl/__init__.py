"""SASL OAUTHBEARER (RFC 7628), without I/O: authenticate with an access token to mail servers and brokers.

>>> client = OAuthBearerClient("a.b.c", host="mail.example", port=993)
>>> client.respond(b"")
b'n,,\\x01host=mail.example\\x01port=993\\x01auth=Bearer a.b.c\\x01\\x01'

Adapters for mail and broker libraries are modules of their own: `watchword.sasl.mail`, `aiokafka`, `confluent_kafka`,
`paho_mqtt` and `aio_pika`. Each takes ``auth.token`` or ``auth.atoken`` of `watchword.client.ClientCredentials`.
"""

from watchword.sasl.client import OAuthBearerClient
from watchword.sasl.errors import Malformed, NotAuthorized, Refused, SaslError
from watchword.sasl.message import MAX_MESSAGE, ClientMessage, decode_line, encode_line, read_message
from watchword.sasl.server import Accepted, Challenge, OAuthBearerServer
from watchword.sasl.token import AsyncTokenSource, HeldToken, TokenSource

__all__ = [
    "MAX_MESSAGE",
    "Accepted",
    "AsyncTokenSource",
    "Challenge",
    "ClientMessage",
    "HeldToken",
    "Malformed",
    "NotAuthorized",
    "OAuthBearerClient",
    "OAuthBearerServer",
    "Refused",
    "SaslError",
    "TokenSource",
    "decode_line",
    "encode_line",
    "read_message",
]
