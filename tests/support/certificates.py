"""Certificates for tests: authorities, callers, and what is wrong with either."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


def cn(text: str) -> x509.Name:
    """A subject of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass
class Held:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def rfc9440(self) -> str:
        """RFC 9440 section 2.2."""
        return f":{base64.b64encode(self.der).decode()}:"

    @property
    def envoy(self) -> str:
        """As Envoy writes it, and nginx with `$ssl_client_escaped_cert`."""
        return f'Cert="{quote(self.pem, safe="")}"'

    def files(self, folder: Path, name: str) -> tuple[str, str]:
        """Certificate and key as files."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_text(self.pem)
        plain = serialization.NoEncryption()
        key.write_bytes(self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        key.chmod(0o600)
        return str(certificate), str(key)


def issue(
    subject: x509.Name,
    now: float,
    by: Held | None = None,
    *,
    authority: bool = False,
    path_length: int | None = None,
    names: list[x509.GeneralName] | None = None,
    purposes: list[x509.ObjectIdentifier] | None = None,
    key: Key | None = None,
    begins: timedelta = -DAY,
    ends: timedelta = 30 * DAY,
    signs: bool = True,
) -> Held:
    """A certificate; self-signed unless `by` is given."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    moment = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by is not None else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment + begins)
        .not_valid_after(moment + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs and not authority, key_cert_sign=authority, crl_sign=authority,
                content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=not signs,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if not authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(purposes or [ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    return Held(builder.sign(by.key if by is not None else own, hashes.SHA256()), own)


def authority(name: str, now: float, by: Held | None = None, path_length: int | None = None) -> Held:
    """A certificate authority."""
    return issue(cn(name), now, by, authority=True, path_length=path_length, ends=3650 * DAY)


def shown(one: Held, *chain: Held) -> dict[str, str]:
    """As the proxy passes it on."""
    headers = {"client-cert": one.rfc9440}
    return {**headers, "client-cert-chain": ", ".join(each.rfc9440 for each in chain)} if chain else headers


def idevid(serial: str, now: float, by: Held, ends: timedelta = 30 * DAY) -> Held:
    """As manufacturers make them (IEEE 802.1AR)."""
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "meter"), x509.NameAttribute(NameOID.SERIAL_NUMBER, serial)]
    )
    return issue(subject, now, by, ends=ends)
