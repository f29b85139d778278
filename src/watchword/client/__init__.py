"""For callers: get, cache and renew an application's access tokens (RFC 6749 section 4.4).

>>> auth = ClientCredentials("https://id.example/t/acme", "an-id", "a-secret", scope="payments:charge")
>>> auth
ClientCredentials('https://id.example/t/acme', 'an-id')

Give it to httpx as ``auth=``, to requests as ``auth=auth.for_requests()``, or take ``auth.token()``.
"""

from watchword.client.credentials import ClientCredentials
from watchword.client.errors import InvalidAnswer, TokenError, TokenRefused, TokenUnavailable
from watchword.client.secret import Secret
from watchword.client.token import AccessToken

__all__ = [
    "AccessToken",
    "ClientCredentials",
    "InvalidAnswer",
    "Secret",
    "TokenError",
    "TokenRefused",
    "TokenUnavailable",
]
