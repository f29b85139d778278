"""Certificate signing requests of devices, good and bad."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.support.certificates import Held, cn

from watchword.jose import PrivateKey

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A device's."""
    return ec.generate_private_key(ec.SECP256R1())


def csr(key: Key, subject: str = "whatever", names: list[x509.GeneralName] | None = None) -> str:
    """PKCS#10, PEM; signed with the key itself."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(cn(subject))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def thumbprint(key: Key) -> str:
    """RFC 7638."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return PrivateKey.from_pem(pem).public.thumbprint()


def held(pem: str, key: ec.EllipticCurvePrivateKey) -> Held:
    """What a device has after its enrolment."""
    return Held(x509.load_pem_x509_certificate(pem.encode()), key)
