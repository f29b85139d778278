"""X.509 client certificates: read strictly, compare by name or key, verify up to trust anchors (RFC 5280).

A certificate is unverified until `TrustAnchors.verify` accepts it. That the client has its private key is not checked
here: the TLS handshake has checked it, with us or with a trusted proxy.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from .encoding import b64url
from .errors import JoseError, UnacceptableKey
from .jwk import RawPublic, check_rsa, thumbprint, to_members
from .weak_keys import check_point

MAX_DER: Final = 16_384
"""Bytes of one certificate."""
_SHORT: Final = 4_096
"""Bytes of a certificate that is cached: a client sends the same one with each request."""
MAX_CHAIN: Final = 8
"""Certificates beside the leaf that a caller may send."""
MAX_SIGNATURES: Final = 12
"""Certificates on all the ways to trust anchors that are tried; more than a longest chain has."""
_MAX_STEPS: Final = 100
NameKind = Literal["dns", "uri", "ip", "email"]
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_HEX_VALUE = re.compile(r"=\s*#")
_BROKEN = (
    ValueError, TypeError, KeyError, UnsupportedAlgorithm,
    x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip
_OIDS = {
    "commonname": NameOID.COMMON_NAME, "cn": NameOID.COMMON_NAME,
    "surname": NameOID.SURNAME, "sn": NameOID.SURNAME,
    "givenname": NameOID.GIVEN_NAME, "gn": NameOID.GIVEN_NAME,
    "serialnumber": NameOID.SERIAL_NUMBER,
    "countryname": NameOID.COUNTRY_NAME, "c": NameOID.COUNTRY_NAME,
    "localityname": NameOID.LOCALITY_NAME, "l": NameOID.LOCALITY_NAME,
    "stateorprovincename": NameOID.STATE_OR_PROVINCE_NAME, "st": NameOID.STATE_OR_PROVINCE_NAME,
    "s": NameOID.STATE_OR_PROVINCE_NAME,
    "streetaddress": NameOID.STREET_ADDRESS, "street": NameOID.STREET_ADDRESS,
    "organizationname": NameOID.ORGANIZATION_NAME, "o": NameOID.ORGANIZATION_NAME,
    "organizationalunitname": NameOID.ORGANIZATIONAL_UNIT_NAME, "ou": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "organizationidentifier": NameOID.ORGANIZATION_IDENTIFIER,
    "title": NameOID.TITLE, "initials": NameOID.INITIALS, "pseudonym": NameOID.PSEUDONYM,
    "generationqualifier": NameOID.GENERATION_QUALIFIER, "dnqualifier": NameOID.DN_QUALIFIER,
    "postalcode": NameOID.POSTAL_CODE, "businesscategory": NameOID.BUSINESS_CATEGORY,
    "emailaddress": NameOID.EMAIL_ADDRESS, "email": NameOID.EMAIL_ADDRESS, "e": NameOID.EMAIL_ADDRESS,
    "userid": NameOID.USER_ID, "uid": NameOID.USER_ID,
    "domaincomponent": NameOID.DOMAIN_COMPONENT, "dc": NameOID.DOMAIN_COMPONENT,
    "unstructuredname": NameOID.UNSTRUCTURED_NAME,
    "jurisdictionc": NameOID.JURISDICTION_COUNTRY_NAME, "jurisdictionl": NameOID.JURISDICTION_LOCALITY_NAME,
    "jurisdictionst": NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME,
}  # fmt: skip
"""RFC 4519 and the short and long names that openssl writes; without case (RFC 4512 section 1.4)."""
_PART = re.compile(r"(?:[^\\,+]|\\.)+|[,+]|\\", re.DOTALL)
"""A part of a distinguished name, or what stands between two."""


class UnacceptableCertificate(JoseError):
    """The certificate is malformed, weak, not valid now, for another use, or not issued by a trusted authority."""

    public = "The certificate is not acceptable"


class Certificate:
    """One certificate that was read; `thumbprint` is its ``x5t#S256`` (RFC 8705 section 3.1)."""

    __slots__ = ("_key", "_name", "_read", "der", "ends_at", "thumbprint")

    def __init__(self, der: bytes) -> None:
        """Raises `UnacceptableCertificate`: also for a key that is weak or of a kind that is not accepted."""
        if len(der) > MAX_DER:
            raise UnacceptableCertificate(f"a certificate has at most {MAX_DER} bytes")
        try:
            self._read = x509.load_der_x509_certificate(der)
            # Each is parsed when it is first read, and raises then.
            _ = self._read.extensions, self._read.subject, self._read.issuer, self._read.not_valid_before_utc
            self._key = acceptable_key(self._read.public_key())
            self.ends_at = self._read.not_valid_after_utc.timestamp()
        except UnacceptableKey as error:
            raise UnacceptableCertificate(error.rule) from None
        except _BROKEN:
            raise UnacceptableCertificate("not a certificate that can be read") from None
        if self._read.public_bytes(serialization.Encoding.DER) != der:
            raise UnacceptableCertificate("not the certificate's one encoding (DER)")
        self.der, self.thumbprint = der, certificate_thumbprint(der)
        self._name: bytes | None = None

    def __repr__(self) -> str:
        return f"Certificate({self.thumbprint})"

    @property
    def subject(self) -> str:
        """The subject as RFC 4514 writes it: for people."""
        return self._read.subject.rfc4514_string()

    @property
    def subject_name(self) -> bytes:
        """The subject as it is encoded: what an issuer's name is compared with."""
        return self._read.subject.public_bytes()

    @property
    def issuer_name(self) -> bytes:
        """The name of who says that it signed it."""
        return self._read.issuer.public_bytes()

    @property
    def subject_serial(self) -> str | None:
        """The one `serialNumber` of its subject, the manufacturer's name of the device (IEEE 802.1AR section 8.6)."""
        found = self._read.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        return str(found[0].value) if len(found) == 1 else None

    @property
    def distinguished_name(self) -> bytes:
        """The subject in the one form that `distinguished_name` makes of every spelling."""
        if self._name is None:
            self._name = _canonical(self._read.subject)
        return self._name

    @property
    def key_thumbprint(self) -> str:
        """RFC 7638, of its public key."""
        return thumbprint(to_members(self._key))

    def names(self, kind: NameKind) -> list[str]:
        """The subject alternative names of one kind, as `alternative_name` spells them."""
        try:
            found = self._read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        if kind == "dns":
            return [alternative_name(kind, name) for name in found.get_values_for_type(x509.DNSName)]
        if kind == "uri":
            return found.get_values_for_type(x509.UniformResourceIdentifier)
        if kind == "email":
            return [alternative_name(kind, name) for name in found.get_values_for_type(x509.RFC822Name)]
        return [str(address) for address in found.get_values_for_type(x509.IPAddress)]

    def check_times(self, now: float) -> None:
        """Raises `UnacceptableCertificate` outside its validity."""
        moment = _moment(now)
        if not self._read.not_valid_before_utc <= moment <= self._read.not_valid_after_utc:
            raise UnacceptableCertificate("the certificate is not valid at this time")

    def check_is_callers(self) -> None:
        """Check that it is a client certificate, not a CA's: RFC 5280 sections 4.2.1.3, 4.2.1.9 and 4.2.1.12.

        An absent extension restricts nothing. Raises `UnacceptableCertificate`.
        """
        if self._is_authority():
            raise UnacceptableCertificate("an authority's certificate is no caller's")
        usage = self._extension(x509.KeyUsage)
        if usage is not None and not usage.digital_signature:
            raise UnacceptableCertificate("its key usage has no digitalSignature")
        purposes = self._extension(x509.ExtendedKeyUsage)
        if purposes is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            raise UnacceptableCertificate("its extended key usage has no clientAuth")

    def check_is_authoritys(self) -> None:
        """Check that it can be a trust anchor. Raises `UnacceptableCertificate`."""
        usage = self._extension(x509.KeyUsage)
        if not self._is_authority() or usage is None or not usage.key_cert_sign:
            raise UnacceptableCertificate("not an authority's: basicConstraints CA and keyUsage keyCertSign are needed")
        if not isinstance(self._read.signature_hash_algorithm, _HASHES):
            raise UnacceptableCertificate("signed with SHA-1, or with a scheme that is not accepted here")

    def to_pem(self) -> str:
        """PEM."""
        return self._read.public_bytes(serialization.Encoding.PEM).decode()

    def to_jwk(self) -> dict[str, object]:
        """Its public key with the certificate itself (RFC 7517 section 4.7)."""
        return {**to_members(self._key), "kid": self.thumbprint, "use": "sig", "x5t#S256": self.thumbprint}

    def _is_authority(self) -> bool:
        constraints = self._extension(x509.BasicConstraints)
        return constraints is not None and constraints.ca

    def _extension(self, kind: type[_Extension]) -> _Extension | None:
        try:
            return self._read.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None


def read_certificate(unverified_der: bytes) -> Certificate:
    """`Certificate`, cached by its bytes. A cached certificate is not trusted for that: its times, its use and its
    issuer are checked each time. Raises `UnacceptableCertificate`.
    """
    return _known(unverified_der) if len(unverified_der) <= _SHORT else Certificate(unverified_der)


_known = lru_cache(256)(Certificate)
"""What could not be read is not kept."""


def paths(
    certificate: Certificate, unverified_chain: Sequence[Certificate], anchors: Container[bytes]
) -> Iterator[list[Certificate]]:
    """The ways from a certificate to names of anchors, by the names alone, the shortest first.

    No name comes twice in one, and together they have at most `MAX_SIGNATURES` certificates, each of which costs a
    signature: a few that sign one another make more ways than anybody has time for.
    """
    waiting: deque[list[Certificate]] = deque([[certificate]])
    steps = signatures = 0
    while waiting and steps < _MAX_STEPS:
        steps += 1
        way = waiting.popleft()
        if way[-1].issuer_name in anchors:
            signatures += len(way)
            if signatures > MAX_SIGNATURES and signatures > len(way):
                return
            yield way[1:]
        taken = {one.subject_name for one in way}
        further = [one for one in unverified_chain if one.subject_name == way[-1].issuer_name]
        waiting.extend([*way, one] for one in further if one.subject_name not in taken)


class TrustAnchors:
    """The certificate authorities of one tenant. Two with the same name are kept apart (Keycloak issue 52801)."""

    def __init__(self, authorities: Sequence[Certificate]) -> None:
        self._authorities = tuple(authorities)
        self._store = Store([one._read for one in authorities]) if authorities else None
        self._names = frozenset(one.subject_name for one in authorities)

    def only(self, thumbprint: str) -> TrustAnchors:
        """The one of this thumbprint (`x5t#S256`); none if it is not among them."""
        return TrustAnchors([one for one in self._authorities if one.thumbprint == thumbprint])

    def verify(self, certificate: Certificate, unverified_chain: Iterable[Certificate], now: float) -> None:
        """A path from the certificate to an anchor (RFC 5280 section 6): signatures, times, path length, names.

        Further certificates of the client may be part of the path; they never identify it (Keycloak CVE-2023-2422).
        Raises `UnacceptableCertificate`.
        """
        certificate.check_is_callers()
        if self._store is None:
            raise UnacceptableCertificate("the tenant has no trust anchors")
        policy = PolicyBuilder().store(self._store).time(_moment(now)).extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        )  # fmt: skip
        verifier, why = policy.build_client_verifier(), "no names lead from one to the other"
        for way in paths(certificate, list(unverified_chain)[:MAX_CHAIN], self._names):
            try:
                verifier.verify(certificate._read, [one._read for one in way])
            except VerificationError as error:
                why = str(error)[:200]
            except _BROKEN:
                why = "it cannot be read"
            else:
                return
        raise UnacceptableCertificate(f"no path to a trust anchor: {why}")


def certificate_thumbprint(der: bytes) -> str:
    """``x5t#S256`` (RFC 8705 section 3.1)."""
    return b64url(hashlib.sha256(der).digest()).decode()


def read_pem(pem: bytes) -> list[Certificate]:
    """The certificates of a PEM text, at least one. Raises `UnacceptableCertificate`."""
    try:
        found = x509.load_pem_x509_certificates(pem)
        ders = [one.public_bytes(serialization.Encoding.DER) for one in found]
    except _BROKEN:
        raise UnacceptableCertificate("not a certificate in PEM") from None
    return [Certificate(der) for der in ders]


@lru_cache(1_024)
def distinguished_name(text: str) -> bytes:
    """A canonical form of a distinguished name (RFC 4514) for comparisons; cached.

    The order of its parts matters, the order inside a multi-valued part and the string type do not; letters do.
    Raises `UnacceptableCertificate`.
    """
    if _HEX_VALUE.search(text):
        raise UnacceptableCertificate("write the values of a distinguished name as text, not in hexadecimal")
    try:
        name = x509.Name.from_rfc4514_string("".join(map(_by_oid, _PART.findall(text))))
    except _BROKEN:
        raise UnacceptableCertificate("not a distinguished name as RFC 4514 writes it") from None
    if not name.rdns:
        raise UnacceptableCertificate("the distinguished name is empty")
    return _canonical(name)


def _by_oid(part: str) -> str:
    """`CN = a`, as openssl writes it, becomes `2.5.4.3=a`. Unknown names stay, for the parser to refuse."""
    name, equals, value = part.partition("=")
    if not equals:
        return part
    found = _OIDS.get(name.strip(" ").lower())
    kept = value.lstrip(" ")
    kept = kept.rstrip(" ") + (" " if kept.rstrip(" ").endswith("\\") else "")
    return f"{found.dotted_string if found is not None else name.strip(' ')}={kept}"


def alternative_name(kind: NameKind, text: str) -> str:
    """A canonical form: host names in lower case, addresses normalised. Raises `UnacceptableCertificate`."""
    if kind == "ip":
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            raise UnacceptableCertificate("not an IP address") from None
    if kind == "dns":
        return text.lower()
    if kind == "email":
        local, at, host = text.rpartition("@")
        return f"{local}{at}{host.lower()}"
    return text


def acceptable_key(key: object) -> RawPublic:
    """The public key, if its kind and size are accepted here. Raises `UnacceptableCertificate`, `UnacceptableKey`."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        check_rsa(numbers.n, numbers.e)
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        check_point(key.public_bytes_raw())
        return key
    raise UnacceptableCertificate("its key is neither RSA, nor on P-256, P-384 or P-521, nor Ed25519")


def _canonical(name: x509.Name) -> bytes:
    parts = [sorted([attribute.oid.dotted_string, _plain(attribute.value)] for attribute in rdn) for rdn in name.rdns]
    return json.dumps(parts).encode()


def _plain(value: str | bytes) -> str:
    return value if isinstance(value, str) else "#" + value.hex()


def _moment(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
