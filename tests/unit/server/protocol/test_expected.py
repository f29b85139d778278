"""Lists of expected devices, approval and certificate requests: the rules alone."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace
from tests.support.csr import csr, new_key, thumbprint

from watchword.jose import Algorithm, PrivateKey, UnacceptableKey
from watchword.jose.certificates import TrustAnchors, UnacceptableCertificate, read_pem
from watchword.jose.device_ca import CertificateRequest, DeviceAuthorityKey, certificate_request
from watchword.server.protocol.approval import ask_again_in, check_asks_again
from watchword.server.protocol.enrolment import EnrolmentRequest, check_certified, check_expected
from watchword.server.protocol.errors import EnrolmentDenied, EnrolmentRefused
from watchword.server.registry.fleet.device_authority import common_name
from watchword.server.registry.fleet.enrolment import EnrolmentGroup
from watchword.server.registry.fleet.expected import ExpectedDevice
from watchword.server.registry.fleet.pending import PendingEnrolment
from watchword.server.registry.model import Application, CertificateName

NOW = 1_800_000_000
GROUP = EnrolmentGroup(tenant_id="t", group_id="g", name="sensors", created_at=0)
PENDING = PendingEnrolment(
    tenant_id="t", pending_id="p", group_id="g", mark="m", ticket="t", way="code", serial="1", own_key="k",
    requested_at=NOW, expires_at=NOW + 100,
)  # fmt: skip


def entry(serial: str | None, key: str | None, group_id: str = "g") -> ExpectedDevice:
    """One of a list."""
    return ExpectedDevice(tenant_id="t", group_id=group_id, serial=serial, key=key)


def test_who_is_on_a_list_comes_as_the_list_has_it() -> None:
    """Whatever a device leaves out or says wrongly, it would come as another one than it was listed as."""
    lists = entry("1", None), entry(None, "k"), entry("1", "k")
    for one, (serial, key) in itertools.product(lists, itertools.product((None, "1", "2"), ("", "k", "x"))):
        listed = (one.serial is not None and one.serial == serial) or (one.key is not None and one.key == key)
        if not listed:
            continue
        good = one.key in (None, key) and (one.serial is None or serial in (None, one.serial))
        if good:
            assert check_expected(GROUP, [one], serial, key) is one
        else:
            with pytest.raises(EnrolmentRefused):
                check_expected(GROUP, [one], serial, key)


def test_what_the_lists_refuse_sounds_alike() -> None:
    """Whoever has a code would learn which serial numbers and keys are on which list."""
    told = set()
    for group, listed in (
        (replace(GROUP, only_expected=True), []),
        (GROUP, [entry("1", None, "other")]),
        (GROUP, [entry("1", "x")]),
        (GROUP, [entry("1", None), entry(None, "k")]),
    ):
        with pytest.raises(EnrolmentRefused) as refused:
            check_expected(group, listed, "1", "k")
        told.add(refused.value.public)
    assert len(told) == 1
    assert check_expected(GROUP, [], "1", "k") is None


def test_when_to_ask_again() -> None:
    """A device would ask every moment for a week, or find out an hour late that it was let in at once."""
    asked = [ask_again_in(PENDING, NOW + waited) for waited in (0, 299, 301, 6_000, 10**6)]
    assert asked == [30, 30, 30, 600, 3_600]


def test_who_asks_again_is_who_asked() -> None:
    """What was approved for one device would be collected by another."""
    wanted = EnrolmentRequest(unverified_ticket="t", serial="1")
    check_asks_again(PENDING, wanted, "k")
    check_asks_again(PENDING, replace(wanted, serial=None), "k")
    for other, key in ((wanted, ""), (wanted, "x"), (replace(wanted, serial="2"), "k")):
        with pytest.raises(EnrolmentRefused):
            check_asks_again(PENDING, other, key)
    with pytest.raises(EnrolmentDenied):
        check_asks_again(replace(PENDING, state="denied"), wanted, "k")


def test_whose_certificate_is_renewed() -> None:
    """An application that an administrator gave another name would get a certificate in ours."""
    group = replace(GROUP, auth_methods=("tls_client_auth",), certificate_lifetime=7_200)
    device = Application(
        tenant_id="t", client_id="c", name="c", created_at=0, auth_method="tls_client_auth",
        tls_client_auth=CertificateName(subject_dn=common_name("c")),
    )  # fmt: skip
    assert check_certified(group, device) == 7_200
    renamed = replace(device, tls_client_auth=CertificateName(subject_dn="CN=x"))
    for its, one in ((None, device), (GROUP, device), (group, renamed), (group, replace(device, tls_client_auth=None))):
        with pytest.raises(EnrolmentRefused):
            check_certified(its, one)


def test_a_certificate_counts_where_its_authority_does() -> None:
    """It would be good for a server, for signing others, for longer than its authority, or elsewhere."""
    pem, pkcs8 = DeviceAuthorityKey.generate("device CA", NOW, 86_400)
    key = DeviceAuthorityKey(pem, pkcs8)
    assert "BEGIN" not in repr(key)
    request = CertificateRequest(csr(new_key(), "an authority"))
    made = key.sign(request, "c-1", "urn:uuid:c-1", NOW, 10 * 86_400)
    assert made.ends_at == NOW + 86_400
    assert made.subject == "CN=c-1"
    assert made.names("uri") == ["urn:uuid:c-1"]
    assert made.key_thumbprint == request.key_thumbprint
    made.check_is_callers()
    TrustAnchors(read_pem(pem.encode())).verify(made, [], NOW)
    other, _ = DeviceAuthorityKey.generate("device CA", NOW, 86_400)
    for anchors, at in ((other, NOW), (pem, NOW + 86_401), (pem, NOW - 301)):
        with pytest.raises(UnacceptableCertificate):
            TrustAnchors(read_pem(anchors.encode())).verify(made, [], at)
    (authority,) = read_pem(pem.encode())
    authority.check_is_authoritys()
    with pytest.raises(UnacceptableCertificate):
        TrustAnchors(read_pem(pem.encode())).verify(authority, [], NOW)


@pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.EdDSA, Algorithm.RS256])
def test_our_own_requests_are_read(algorithm: Algorithm) -> None:
    """A device whose key is of another kind than the one that was tried would get no certificate."""
    key = PrivateKey.generate(algorithm)
    assert CertificateRequest(certificate_request(key)).key_thumbprint == key.public.thumbprint()


def test_a_key_that_no_certificate_is_for() -> None:
    """The device would find out at the server, without knowing why."""
    from cryptography.hazmat.primitives.asymmetric import ec

    own = new_key()
    assert CertificateRequest(csr(own)).key_thumbprint == thumbprint(own)
    with pytest.raises(UnacceptableKey):
        PrivateKey(ec.generate_private_key(ec.SECP256K1()), Algorithm.ES256)
