"""Tokens for aiokafka (``watchword[aiokafka]``).

>>> AIOKafkaProducer(bootstrap_servers="kafka.example:9093", security_protocol="SASL_SSL",      # doctest: +SKIP
...     sasl_mechanism="OAUTHBEARER", sasl_oauth_token_provider=TokenProvider(auth.atoken), ssl_context=context)
"""

from __future__ import annotations

from aiokafka.abc import AbstractTokenProvider

from watchword.sasl.token import AsyncTokenSource


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is not typed
    """aiokafka calls `token` for each new connection; the source returns its cached token."""

    def __init__(self, source: AsyncTokenSource) -> None:
        self._source = source

    async def token(self) -> str:
        """The access token's text."""
        return (await self._source()).value
