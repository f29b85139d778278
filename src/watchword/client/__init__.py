"""For callers: get, cache and renew an application's access tokens (RFC 6749 section 4.4).

>>> auth = ClientCredentials("https://id.example/t/acme", "an-id", "a-secret", scope="payments:charge")
>>> auth
ClientCredentials('https://id.example/t/acme', 'an-id')

Give it to httpx as ``auth=``. Other libraries: ``for_requests``, ``for_aiohttp``, ``for_urllib3`` and ``for_grpc``.
Everything else: ``token()`` and ``atoken()``.
"""

from watchword.client.client_certificate import ClientCertificate
from watchword.client.credentials import ClientCredentials
from watchword.client.discovery import Discovered, adiscover, discover
from watchword.client.disk import DiskCache
from watchword.client.dpop import DpopKey
from watchword.client.enrolment import CertificateFor, Claim, Device, aenrol, enrol, renew_certificate
from watchword.client.errors import (
    EnrolmentPending,
    InvalidAnswer,
    IssuerNotAllowed,
    SecretMissing,
    SubjectEnded,
    TokenError,
    TokenRefused,
    TokenUnavailable,
)
from watchword.client.network import Clock, Network
from watchword.client.platform_token import PlatformToken, from_github_actions, from_gitlab, from_kubernetes
from watchword.client.private_key_jwt import PrivateKeyJwt
from watchword.client.proof import Proof, Proven, SharedSecret
from watchword.client.secret import Secret
from watchword.client.sources import from_environment, from_file, from_keyring, from_systemd
from watchword.client.token import AccessToken
from watchword.client.token_exchange import OnBehalf, TokenExchange
from watchword.client.transactions import Transactions

__all__ = [
    "AccessToken",
    "CertificateFor",
    "Claim",
    "ClientCertificate",
    "ClientCredentials",
    "Clock",
    "Device",
    "Discovered",
    "DiskCache",
    "DpopKey",
    "EnrolmentPending",
    "InvalidAnswer",
    "IssuerNotAllowed",
    "Network",
    "OnBehalf",
    "PlatformToken",
    "PrivateKeyJwt",
    "Proof",
    "Proven",
    "Secret",
    "SecretMissing",
    "SharedSecret",
    "SubjectEnded",
    "TokenError",
    "TokenExchange",
    "TokenRefused",
    "TokenUnavailable",
    "Transactions",
    "adiscover",
    "aenrol",
    "discover",
    "enrol",
    "from_environment",
    "from_file",
    "from_github_actions",
    "from_gitlab",
    "from_keyring",
    "from_kubernetes",
    "from_systemd",
    "renew_certificate",
]
