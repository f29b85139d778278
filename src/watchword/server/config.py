"""Settings: one frozen object; every field has a type, a default and a sentence.

Precedence: flags > environment `WATCHWORD_*` > `watchword.toml`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
INHERITED = "WATCHWORD_INHERITED_SETTINGS"
"""The environment variable in which a worker process finds the settings of the process that started it, as JSON."""


_RANGES: Final[dict[str, tuple[float, float, str]]] = {
    "clock_tolerance": (0, 300, " seconds"),
    "assertion_life": (10, 3_600, " seconds"),
    "dpop_proof_life": (5, 600, " seconds"),
    "answer_within": (0.05, 30, " seconds"),
    "keep_alive": (1, 3_600, " seconds"),
    "max_connections": (1, 1_000_000, ""),
    "wrong_proofs": (1, 1_000_000, ""),
    "status_list_ttl": (5, 3_600, " seconds"),
}
"""The least and the most of settings that are numbers."""


class SettingsError(Exception):
    """A setting is wrong; the text names it and says what would be right."""


class Settings(Struct, frozen=True, kw_only=True):
    """All that an operator can say."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8480
    """Port to listen on; 0 lets the system choose."""
    workers: int = 1
    """Worker processes; one per core serves best."""
    database_url: str = "sqlite:///watchword.db"
    """`sqlite:///path` or `postgresql://...`."""
    public_url: str = ""
    """The base that issuers derive from; by default http://host:port."""
    master_key_file: str = "watchword.key"
    """The master key, mode 0600. Back it up apart from the database."""
    audit_epoch_file: str = ""
    """Number and hash of the newest audit checkpoint; by default `master_key_file` with `.epoch` appended."""
    admin_key_file: str = ""
    """At the first start: the administrator's public key (PEM, JWK or JWK set) in place of a secret."""
    admin_secret_file: str = ""
    """At the first start: a new file for the administrator's secret, in place of a profile of this user."""
    tls_cert: str = ""
    """Certificate chain (PEM) for our own TLS listener."""
    tls_key: str = ""
    """Its private key (PEM)."""
    client_ca: str = ""
    """Certificates (PEM) of which one must vouch for a caller's: our TLS listener asks every caller for one."""
    client_cert: Literal["optional", "required"] = "optional"
    """Whether a caller without a certificate gets through the TLS handshake. With `client_ca` only."""
    client_cert_header: Literal["", "client-cert", "x-forwarded-client-cert"] = ""
    """The header in which `trusted_proxies` pass on a caller's certificate (RFC 9440, or Envoy's)."""
    mtls_url: str = ""
    """A second base under which callers are asked for a certificate: `mtls_endpoint_aliases` of the metadata."""
    dev_tls: bool = False
    """Our own TLS listener with a certificate of a development CA made here. Loopback only."""
    behind_proxy: bool = False
    """TLS ends at a proxy before us; name it in `trusted_proxies`."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose forwarded headers count."""
    debug: bool = False
    """Log more. Loopback only."""
    key_rotation_period: int = 30 * 86_400
    """Seconds that a signing key signs."""
    key_publish_ahead: int = 3_600
    """Seconds that a key is published before it signs; also the bound on caching the JWK set."""
    max_old_secrets: int = 1
    """How many older secrets a rotation leaves valid during its overlap."""
    audit_retention_days: int = 0
    """Days that audit events are kept; 0 keeps all of them."""
    clock_tolerance: float = 10.0
    """Seconds by which a caller's clock may differ from ours, in either direction."""
    assertion_life: float = 600.0
    """The longest life, in seconds, of a JWT by which an application proves itself."""
    dpop_proof_life: float = 60.0
    """Seconds after its `iat` for which a DPoP proof may be used, once."""
    dpop_nonce: bool = False
    """Refuse DPoP proofs without a nonce of ours: none can be made in advance, and callers' clocks do not matter."""
    status_list_ttl: int = 60
    """Seconds for which APIs may keep a status list: how long a revoked token may go on there."""
    fetch_from_loopback: bool = False
    """Let `jwks_uri` name this machine, also over plain HTTP. For development, on loopback only."""
    fetch_ports: str = "443"
    """Ports that `jwks_uri` may name, separated by commas."""
    fetch_ca_file: str = ""
    """Certificate authorities (PEM) to trust for `jwks_uri` in place of the system's."""
    coap: str = ""
    """HOST:PORT to give tokens at over CoAP (RFC 9200), on loopback or with `coap_insecure`; empty: not at all."""
    coap_insecure: bool = False
    """Let `coap` be on a network where others can read it, tokens too. Client secrets are refused there."""
    body_timeout: float = 10.0
    """Seconds that a request's body may take to arrive."""
    keep_alive: int = 75
    """Seconds that an idle connection is kept: more than the balancer before us keeps one, which is often 60."""
    answer_within: float = 0.5
    """Seconds in which a request is answered that was let in; what would take longer is told at once to come again."""
    max_connections: int = 10_000
    """Connections that a worker holds at once, or as many as it may open files; one more is told to come again."""
    wrong_proofs: int = 100
    """Times that a source may fail to prove one application before it is told to slow down; of any, three times."""

    @property
    def base_url(self) -> str:
        """The public base without a trailing slash."""
        if self.public_url:
            return self.public_url.rstrip("/")
        scheme = "https" if self.tls_cert or self.dev_tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def sqlite_path(self) -> Path | None:
        """The database file; None on PostgreSQL."""
        return Path(self.database_url.removeprefix("sqlite:///")) if self.database_url.startswith("sqlite:") else None

    @property
    def epoch_path(self) -> Path:
        """The file of the audit epoch."""
        return Path(self.audit_epoch_file or f"{self.master_key_file}.epoch")

    @property
    def coap_address(self) -> tuple[str, int] | None:
        """Host and port of `coap`. Raises `SettingsError`."""
        if not self.coap:
            return None
        host, _, port = self.coap.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            raise SettingsError("WATCHWORD_COAP: use HOST:PORT, such as 127.0.0.1:5683 or [::1]:5683")
        return host.strip("[]"), int(port)

    @property
    def coap_protected(self) -> bool:
        """Whether nobody but this machine can read what passes."""
        address = self.coap_address
        return address is not None and address[0] in LOOPBACK

    def check(self) -> None:
        """Raises `SettingsError` for a combination that would not be safe or cannot work."""
        if not self.database_url.startswith(("sqlite:///", "postgresql://")):
            raise SettingsError("WATCHWORD_DATABASE_URL: use sqlite:///path or postgresql://user@host/name")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise SettingsError("give both --tls-cert and --tls-key")
        if self.dev_tls and (self.host not in LOOPBACK or self.behind_proxy or self.tls_cert):
            raise SettingsError(
                "the development CA is for our own listener on loopback only: bind 127.0.0.1, "
                "or drop --dev-tls and give --tls-cert and --tls-key"
            )
        self._check_client_certificates()
        if self.host not in LOOPBACK and self.debug:
            raise SettingsError("debug is for loopback only: bind 127.0.0.1 or drop --debug")
        if self.host not in LOOPBACK and self.fetch_from_loopback:
            raise SettingsError("fetch_from_loopback is for loopback only: bind 127.0.0.1 or drop it")
        if not self.ports_to_fetch:
            raise SettingsError("WATCHWORD_FETCH_PORTS: use port numbers separated by commas, such as 443,8443")
        self._check_numbers()
        if self.host not in LOOPBACK and not self.tls_cert and not (self.behind_proxy and self.trusted_proxies):
            raise SettingsError(
                f"plain HTTP is for loopback only, and {self.host} is not: "
                "give --tls-cert and --tls-key, or --behind-proxy with --trusted-proxy"
            )
        if self.coap_address and not self.coap_protected and not self.coap_insecure:
            raise SettingsError(
                f"CoAP without DTLS or OSCORE is for loopback only, and {self.coap} is not: bind 127.0.0.1 behind a "
                "DTLS proxy, or, on a network that is encrypted below, give --coap-insecure"
            )
        if self.admin_key_file and self.admin_secret_file:
            raise SettingsError("give WATCHWORD_ADMIN_KEY_FILE or WATCHWORD_ADMIN_SECRET_FILE, not both")
        parts = urlsplit(self.base_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or "@" in parts.netloc
        ):
            raise SettingsError("WATCHWORD_PUBLIC_URL: use https://host or https://host/path, nothing else in it")

    def _check_numbers(self) -> None:
        for name, (least, most, unit) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise SettingsError(f"WATCHWORD_{name.upper()}: {name} is {least:g} to {most:.10g}{unit}")
        if self.audit_retention_days < 0:
            raise SettingsError("WATCHWORD_AUDIT_RETENTION_DAYS: use a number of days, or 0 to keep all")

    def _check_client_certificates(self) -> None:
        if self.client_ca and not (self.tls_cert or self.dev_tls):
            raise SettingsError("client certificates are asked for by our own TLS listener: give --tls-cert, --tls-key")
        if self.client_cert == "required" and not self.client_ca:
            raise SettingsError("--client-cert required needs --client-ca: the certificates that vouch for callers'")
        if self.client_cert_header and (not self.trusted_proxies or "*" in self.trusted_proxies):
            raise SettingsError("--client-cert-header counts from named proxies only: give --trusted-proxy, and not *")
        parts = urlsplit(self.mtls_url)
        if self.mtls_url and (parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment):
            raise SettingsError("WATCHWORD_MTLS_URL: use https://host or https://host/path, nothing else in it")

    @property
    def ports_to_fetch(self) -> frozenset[int]:
        """`fetch_ports` as numbers; empty when they are none."""
        named = [text.strip() for text in self.fetch_ports.split(",")]
        found = frozenset(int(text) for text in named if re.fullmatch("[0-9]{1,5}", text))
        return found if len(found) == len(set(named)) and all(1 <= port <= 65_535 for port in found) else frozenset()

    @property
    def takes_certificates(self) -> bool:
        """Whether a caller's certificate can reach this instance."""
        return bool(self.client_ca or self.client_cert_header or self.mtls_url)


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Settings:
    """Merge the three sources. Raises `SettingsError`."""
    merged: dict[str, Any] = {}
    path = file or Path("watchword.toml")
    if path.exists():
        merged.update(tomllib.loads(path.read_text()))
    for field in msgspec.structs.fields(Settings):
        value = environment.get(f"WATCHWORD_{field.name.upper()}")
        if value is not None:
            merged[field.name] = tuple(value.split(",")) if field.name == "trusted_proxies" else value
    merged.update({name: value for name, value in flags.items() if value is not None})
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"a setting is wrong: {error}") from None
    settings.check()
    return settings
