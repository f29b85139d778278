"""The certificate authority for devices: reads PKCS#10 requests (RFC 2986) and signs certificates (RFC 5280).

Only the key of a request is used, after its signature has shown that the sender has the private key. The authority sets
subject, names, lifetime and purposes; everything else in a request is ignored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .certificates import Certificate, UnacceptableCertificate, acceptable_key
from .errors import JoseError, UnacceptableKey
from .jwk import RawPublic, thumbprint, to_members
from .keys import PrivateKey

MAX_REQUEST: Final = 8_192
"""Characters of a request in PEM: one with an RSA key of 8,192 bits has less than 3,000."""
_BEHIND: Final = timedelta(minutes=5)
"""A server whose clock is a little behind must not find the certificate in its future."""
_END: Final = "-----END CERTIFICATE REQUEST-----"
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class UnacceptableRequest(JoseError):
    """The certificate signing request is malformed, has a weak key, or is not signed by its own key."""

    public = "The certificate signing request is not acceptable"


class CertificateRequest:
    """A request whose signature fits its key: the sender has the private key. Nothing else in it is used."""

    __slots__ = ("_key",)

    def __init__(self, unverified_pem: str) -> None:
        """Raises `UnacceptableRequest`."""
        if len(unverified_pem) > MAX_REQUEST or not unverified_pem.isascii():
            raise UnacceptableRequest(f"a request has at most {MAX_REQUEST} ASCII characters")
        if unverified_pem.count("-----BEGIN ") != 1 or not unverified_pem.strip().endswith(_END):
            raise UnacceptableRequest("send one PKCS#10 request in PEM, and nothing beside it")
        try:
            read = x509.load_pem_x509_csr(unverified_pem.encode())
            self._key: RawPublic = acceptable_key(read.public_key())
            hashed = read.signature_hash_algorithm
            signed = read.is_signature_valid
        except (UnacceptableKey, UnacceptableCertificate) as error:
            raise UnacceptableRequest(error.rule) from None
        except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion):
            raise UnacceptableRequest("not a PKCS#10 request that can be read") from None
        if hashed is not None and not isinstance(hashed, _HASHES):
            raise UnacceptableRequest("signed with SHA-1, or with a scheme that is not accepted here")
        if not signed:
            raise UnacceptableRequest("its signature does not fit its key")

    def __repr__(self) -> str:
        return f"CertificateRequest({self.key_thumbprint})"

    @property
    def key_thumbprint(self) -> str:
        """RFC 7638, of its public key."""
        return thumbprint(to_members(self._key))

    @property
    def raw_key(self) -> Any:
        """For `DeviceAuthorityKey.sign` alone."""
        return self._key


def certificate_request(key: PrivateKey) -> str:
    """A request for a certificate of this key (PKCS#10, PEM), without a name: the authority gives it.

    Raises `UnacceptableKey` for a kind of key that no certificate of ours is for.
    """
    acceptable_key(key._key.public_key())
    hashed = None if isinstance(key._key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key._key, hashed).public_bytes(serialization.Encoding.PEM).decode()


class DeviceAuthorityKey:
    """The authority's private key and certificate."""

    __slots__ = ("_certificate", "_key")

    def __init__(self, certificate_pem: str, pkcs8: bytes) -> None:
        """Of what `generate` made. Raises `UnacceptableKey`."""
        try:
            key = serialization.load_der_private_key(pkcs8, None)
            self._certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise UnacceptableKey("not the key of a device authority") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise UnacceptableKey("not the key of a device authority")
        self._key = key

    def __repr__(self) -> str:
        return "DeviceAuthorityKey(...)"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not pickled or copied")

    @classmethod
    def generate(cls, name: str, now: float, life: int) -> tuple[str, bytes]:
        """Its certificate in PEM, and its key in PKCS#8: seal that before it goes anywhere. `life` is seconds."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, subject, key.public_key(), now, now + life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        pkcs8 = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), pkcs8

    def sign(self, request: CertificateRequest, common_name: str, uri: str, now: float, life: int) -> Certificate:
        """A TLS client certificate for one name; it never outlives the authority's certificate."""
        ends = min(now + life, self._certificate.not_valid_after_utc.timestamp())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = (
            _builder(subject, self._certificate.subject, request.raw_key, now, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(made.public_bytes(serialization.Encoding.DER))


def _builder(
    subject: x509.Name, issuer: x509.Name, public: RawPublic, now: float, ends: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)  # type: ignore[arg-type]  # `acceptable_key` lets RSA, EC and Ed25519 through
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(int(now), UTC) - _BEHIND)
        .not_valid_after(datetime.fromtimestamp(int(ends), UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)  # type: ignore[arg-type]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
