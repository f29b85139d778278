"""Certificates, their names and headers: what foreign bytes do to the parsers, and what names may differ in."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.certificates import authority, cn, issue

from watchword.jose.certificate_header import HeaderKind, Presented, read_headers
from watchword.jose.certificates import (
    MAX_SIGNATURES,
    Certificate,
    TrustAnchors,
    UnacceptableCertificate,
    alternative_name,
    distinguished_name,
    paths,
    read_certificate,
    read_pem,
)

NOW = 1_800_000_000.0
CA = authority("CA", NOW)
HELD = issue(cn("caller"), NOW, CA)
ENVOY_WORDS = st.sampled_from(
    ["Cert=", "Chain=", "Hash=", "By=", '"', "\\", ";", ",", "=", "%2D", "%", HELD.envoy[5:], ":"]
)


@pytest.mark.parametrize("kind", ["client-cert", "x-forwarded-client-cert"])
@given(
    names=st.lists(
        st.sampled_from([b"client-cert", b"client-cert-chain", b"x-forwarded-client-cert", b"other"]), max_size=3
    ),
    values=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.lists(ENVOY_WORDS, max_size=8).map(lambda parts: "".join(parts).encode()),
            st.sampled_from([HELD.rfc9440.encode(), HELD.envoy.encode(), f"{HELD.rfc9440}, {CA.rfc9440}".encode()]),
        ),
        min_size=3,
        max_size=3,
    ),
)
def test_any_header(kind: HeaderKind, names: list[bytes], values: list[bytes]) -> None:
    """A header that crashes the parser is a 500 that anybody behind the proxy can send."""
    try:
        found = read_headers(kind, zip(names, values, strict=False))
        if found is not None:
            _ = Certificate(found.certificate)
    except UnacceptableCertificate:
        return


@given(
    at=st.integers(0, len(HELD.der) - 1),
    byte=st.integers(0, 255),
    cut=st.integers(0, len(HELD.der)),
    insert=st.booleans(),
)
@example(at=0, byte=0, cut=0, insert=False)
def test_any_certificate(at: int, byte: int, cut: int, insert: bool) -> None:
    """A certificate is the caller's word: one byte must not be a crash, nor a changed certificate a trusted one."""
    changed = bytearray(HELD.der)
    if insert:
        changed.insert(at, byte)
    else:
        changed[at] = byte
    for der in (bytes(changed), HELD.der[:cut]):
        if der == HELD.der:
            continue
        with pytest.raises(UnacceptableCertificate):
            TrustAnchors([Certificate(CA.der)]).verify(Certificate(der), (), NOW)


def test_what_was_read_once_is_judged_each_time() -> None:
    """A certificate that was good once would stay good after its end, or after its authority was no longer trusted."""
    known = read_certificate(HELD.der)
    assert read_certificate(bytes(HELD.der)) is known
    trusted = TrustAnchors([Certificate(CA.der)])
    trusted.verify(known, (), NOW)
    for anchors, now in ((trusted, known.ends_at + 1), (TrustAnchors([]), NOW)):
        with pytest.raises(UnacceptableCertificate):
            anchors.verify(read_certificate(HELD.der), (), now)
    for _ in range(2):
        with pytest.raises(UnacceptableCertificate):
            read_certificate(HELD.der[:-1])


@given(st.text(max_size=80))
@example("CN=#04")
@example("CN=\ud800")
def test_any_name(text: str) -> None:
    """Names are registered by people: a text that is none is said to be none."""
    with contextlib.suppress(UnacceptableCertificate):
        _ = distinguished_name(text)
    for kind in ("dns", "uri", "ip", "email"):
        try:
            _ = alternative_name(kind, text)
        except UnacceptableCertificate:
            continue


def test_spellings_of_one_name() -> None:
    """MTL-006: escapes, spaces, the order inside a part and the form of a value are spelling; the rest is the name."""
    assert distinguished_name(r"CN=a\2Cb") == distinguished_name(r"CN=a\,b") == distinguished_name(r"2.5.4.3=a\,b")
    assert distinguished_name("CN=a+OU=b,O=c") == distinguished_name("OU=b+CN=a,O=c")
    assert distinguished_name("CN=a,O=b") != distinguished_name("O=b,CN=a")
    assert distinguished_name("CN=a") != distinguished_name("CN=A")
    for spelled in ("cn=a,o=b", "CN = a, O = b", "commonName=a,organizationName=b", "Cn=a , 2.5.4.10=b", "cn= a,o =b "):
        assert distinguished_name(spelled) == distinguished_name("CN=a,O=b")
    assert distinguished_name("e=a@b, sn=c, S=d, serialnumber=1") == distinguished_name(
        "1.2.840.113549.1.9.1=a@b,2.5.4.4=c,2.5.4.8=d,2.5.4.5=1"
    )
    assert distinguished_name(r"CN=a\ ") != distinguished_name("CN=a ") == distinguished_name("CN=a")
    assert distinguished_name(r"CN=a\,cn=b") != distinguished_name("CN=a,CN=b")
    assert distinguished_name("emailAddress=a@b,CN=a") == distinguished_name("1.2.840.113549.1.9.1=a@b,CN=a")


def test_a_header_that_is_right() -> None:
    """RFC 9440 and Envoy's form give the same leaf; the chain is kept apart from it."""
    headers = [(b"client-cert", HELD.rfc9440.encode()), (b"client-cert-chain", CA.rfc9440.encode())]
    assert read_headers("client-cert", headers) == Presented(HELD.der, (CA.der,))
    assert read_headers("client-cert", []) is None
    assert read_headers("x-forwarded-client-cert", [(b"x-forwarded-client-cert", HELD.envoy.encode())]) == Presented(
        HELD.der
    )
    assert read_headers("x-forwarded-client-cert", [(b"x-forwarded-client-cert", b'Cert=""')]) is None


def test_sha_1_signs_nothing(tmp_path: Path) -> None:
    """A SHA-1 signature can be moved to another certificate by who can pay for a collision."""
    trusted = authority("CA", time.time())
    ca, key = trusted.files(tmp_path, "ca")
    _, own = HELD.files(tmp_path, "leaf")
    leaf = tmp_path / "sha1.pem"
    request = ["openssl", "req", "-new", "-key", own, "-subj", "/CN=caller", "-out", str(tmp_path / "csr")]
    subprocess.run(request, check=True, capture_output=True)
    extensions = tmp_path / "extensions"
    extensions.write_text("keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n")
    for digest in ("-sha1", "-sha256"):
        sign = ["openssl", "x509", "-req", digest, "-in", str(tmp_path / "csr"), "-CA", ca, "-CAkey", key]
        subprocess.run(
            [*sign, "-days", "30", "-extfile", str(extensions), "-out", str(leaf)], check=True, capture_output=True
        )
        [certificate] = read_pem(leaf.read_bytes())
        now = certificate.ends_at - 86_400
        anchors = TrustAnchors([Certificate(trusted.der)])
        if digest == "-sha1":
            with pytest.raises(UnacceptableCertificate):
                anchors.verify(certificate, (), now)
        else:
            anchors.verify(certificate, (), now)


def test_certificates_that_sign_one_another() -> None:
    """Eight of them, shown by a stranger, kept a worker busy for half a second: every order was tried."""
    now = time.time()
    root, names = authority("root", now), [f"ca {n}" for n in range(4)]
    cas = {name: authority(name, now, root) for name in names}
    crossed = [
        issue(cn(name), now, cas[other], authority=True, key=cas[name].key)
        for name in names for other in names if other != name
    ]  # fmt: skip
    leaf = Certificate(issue(cn("leaf"), now, cas["ca 0"]).der)
    chain = [Certificate(each.der) for each in (*crossed, *cas.values())]
    found = list(paths(leaf, chain, frozenset({Certificate(root.der).subject_name})))
    assert 1 <= sum(len(way) + 1 for way in found) <= MAX_SIGNATURES
    TrustAnchors([Certificate(root.der)]).verify(leaf, chain[-4:], now)
    with pytest.raises(UnacceptableCertificate):
        TrustAnchors([Certificate(authority("root", now).der)]).verify(leaf, chain, now)


def test_the_longest_chain_is_tried() -> None:
    """A company with many levels of authorities could authenticate nobody."""
    now = time.time()
    levels = [authority("root", now)]
    for n in range(7):
        levels.append(authority(f"level {n}", now, levels[-1]))
    leaf = Certificate(issue(cn("leaf"), now, levels[-1]).der)
    chain = [Certificate(each.der) for each in reversed(levels[1:])]
    TrustAnchors([Certificate(levels[0].der)]).verify(leaf, chain, now)
