"""What the operator of the fleet does: APIs, devices, services, and the switch that takes one device out."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from watchword.client import ClientCredentials, Network, PrivateKeyJwt, Proof, Secret
from watchword.client.sources import SecretSource
from watchword.jose import Algorithm, PrivateKey

ADMIN = "urn:watchword:admin"


@dataclass(frozen=True)
class Identity:
    """Who somebody is, and the proof of it."""

    client_id: str
    proof: Proof | Secret

    def secret(self) -> str:
        """For a program that is told it at its start."""
        assert isinstance(self.proof, Secret), "a device has no secret"
        return self.proof.reveal()


class Operator:
    """The administration API, by an application that may use it.

    Args:
        issuer: the tenant's. ``client_id``, ``secret``: what `watchword init` printed.
        trust: the CA of a development server; None on plain loopback.
        apis: those that are there already, by identifier.
    """

    def __init__(
        self, issuer: str, client_id: str, secret: str, trust: ssl.SSLContext | None = None,
        apis: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.issuer, self._trust, self._apis = issuer, trust, dict(apis or {})
        admin = ClientCredentials(
            issuer, client_id, secret, resource=ADMIN, network=Network(transport=self._transport())
        )
        base = issuer.rpartition("/t/")[0]
        self._http = httpx.Client(auth=admin, base_url=f"{base}/api/v1", transport=self._transport())

    def close(self) -> None:
        self._http.close()

    def api(self, identifier: str, *scopes: str) -> None:
        """What a broker is for tokens: their audience. A token lives a minute here, so that you see it renewed."""
        listed = [{"name": scope} for scope in scopes]
        body = {"identifier": identifier, "name": identifier, "scopes": listed, "tokens": {"lifetime": 60}}
        self._apis[identifier] = self._call("POST", "/apis", body)["api_id"]

    def service(self, name: str, *grants: tuple[str, str]) -> Identity:
        """A program on a server: it gets a secret."""
        body = {"name": name, "kind": "service", "grants": [self._grant(*grant) for grant in grants]}
        made = self._call("POST", "/applications", body)
        return Identity(made["client_id"], Secret(made["client_secret"]))

    def introspector(self, identifier: str, identity: Identity) -> None:
        """Let it follow what is revoked at an API."""
        self._call("PATCH", f"/apis/{self._apis[identifier]}", {"introspectors": [identity.client_id]})

    def devices(self, grants: Mapping[str, list[tuple[str, str]]]) -> dict[str, Identity]:
        """A whole fleet in one request. Each device has a key of its own, of which the server sees the public half."""
        keys = {serial: PrivateKey.generate(Algorithm.ES256) for serial in grants}
        rows = [
            {
                "serial": serial, "jwks": {"keys": [keys[serial].public.to_jwk()]},
                "grants": [self._grant(*grant) for grant in granted],
            }
            for serial, granted in grants.items()
        ]  # fmt: skip
        results = self._call("POST", "/devices/import", {"rows": rows})["rows"]
        assert all(one["outcome"] == "created" for one in results), results
        return {
            serial: Identity(one["client_id"], PrivateKeyJwt(_kept(keys[serial])))
            for serial, one in zip(grants, results, strict=True)
        }

    def enable(self, identity: Identity, enabled: bool) -> None:
        """Off: no more tokens, and those that are out there end where the revocations are followed."""
        self._call("PATCH", f"/applications/{identity.client_id}", {"enabled": enabled})

    def credentials(self, identity: Identity, audience: str) -> ClientCredentials:
        """Our client library, as a device or a service uses it."""
        return ClientCredentials(
            self.issuer,
            identity.client_id,
            identity.proof,
            audience=audience,
            network=Network(transport=self._transport()),
        )

    def _transport(self) -> httpx.HTTPTransport | None:
        return httpx.HTTPTransport(verify=self._trust) if self._trust else None

    def _grant(self, identifier: str, scope: str) -> dict[str, Any]:
        return {"api_id": self._apis[identifier], "scopes": [scope]}

    def _call(self, method: str, path: str, body: Any) -> Any:
        answer = self._http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()


def _kept(key: PrivateKey) -> SecretSource:
    """Where a device finds its key. On a real one: `watchword.client.from_file`."""
    body = base64.encodebytes(key.to_pkcs8()).decode()
    return lambda: Secret(f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n")
