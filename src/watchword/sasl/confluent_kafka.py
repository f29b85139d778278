"""Tokens for confluent-kafka (librdkafka): the callback ``oauth_cb``. Does not import the library.

>>> Producer({"bootstrap.servers": "kafka.example:9093", "security.protocol": "SASL_SSL",       # doctest: +SKIP
...     "sasl.mechanisms": "OAUTHBEARER", "oauth_cb": oauth_cb(auth.token)})
"""

from __future__ import annotations

from collections.abc import Callable

from watchword.sasl.token import TokenSource


def oauth_cb(source: TokenSource) -> Callable[[str], tuple[str, float]]:
    """The value of ``oauth_cb``: token and expiry (Unix seconds).

    librdkafka asks again at 80 % of the token's life and re-authenticates open connections (KIP-368). An exception
    of the source is a client error there, and librdkafka asks again after ten seconds.
    """

    def give(_sasl_oauthbearer_config: str) -> tuple[str, float]:
        token = source()
        return token.value, token.expires_at

    return give
