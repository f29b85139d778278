"""Authlib's two clients: OAuth2Session on requests, AsyncOAuth2Client on httpx."""

import asyncio
import json
import os
import sys

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.requests_client import OAuth2Session

endpoint = os.environ["WATCHWORD_ISSUER"] + "/token"
client_id, secret = os.environ["WATCHWORD_CLIENT_ID"], os.environ["WATCHWORD_CLIENT_SECRET"]
method = os.environ["AUTH_METHOD"]


def sync_ask(secret: str, scope: str) -> str:
    session = OAuth2Session(client_id, secret, scope=scope, token_endpoint_auth_method=method)
    try:
        return session.fetch_token(endpoint, grant_type="client_credentials")["access_token"]
    except OAuthError as error:
        return f"{type(error).__name__} {error.error}"


async def async_ask(secret: str, scope: str) -> str:
    async with AsyncOAuth2Client(client_id, secret, scope=scope, token_endpoint_auth_method=method) as session:
        try:
            return (await session.fetch_token(endpoint, grant_type="client_credentials"))["access_token"]
        except OAuthError as error:
            return f"{type(error).__name__} {error.error}"


def ask(secret: str, scope: str) -> str:
    return sync_ask(secret, scope) if sys.argv[1] == "sync" else asyncio.run(async_ask(secret, scope))


told = {
    "token": ask(secret, "payments:charge"),
    "wrong_secret": ask("wrong", "payments:charge"),
    "scope_refused": ask(secret, "ungranted"),
}
sys.stdout.write(json.dumps(told))
