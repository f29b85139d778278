"""requests-oauthlib with oauthlib's BackendApplicationClient. OAUTHLIB_INSECURE_TRANSPORT: http, on loopback."""

import json
import os
import sys

from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

endpoint = os.environ["WATCHWORD_ISSUER"] + "/token"
client_id, secret = os.environ["WATCHWORD_CLIENT_ID"], os.environ["WATCHWORD_CLIENT_SECRET"]


def ask(secret: str, scope: str) -> str:
    session = OAuth2Session(client=BackendApplicationClient(client_id, scope=scope))
    how = (
        {"auth": HTTPBasicAuth(client_id, secret)}
        if os.environ["AUTH_METHOD"] == "client_secret_basic"
        else {"include_client_id": True, "client_secret": secret}
    )
    try:
        return session.fetch_token(endpoint, **how)["access_token"]
    except OAuth2Error as error:
        return f"{type(error).__name__} {error.error}"


told = {
    "token": ask(secret, "payments:charge"),
    "wrong_secret": ask("wrong", "payments:charge"),
    "scope_refused": ask(secret, "ungranted"),
}
sys.stdout.write(json.dumps(told))
