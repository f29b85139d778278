"""Devices that come with their manufacturer's certificate, and those that get one of ours, on both databases.

The certificate comes from a trusted proxy's header here; in `test_enrolment_command.py` from our own TLS handshake.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.certificates import DAY, Held, authority, cn, idevid, issue, shown
from tests.support.csr import csr, held, new_key, thumbprint
from tests.support.enrolling import applications, ask, codes, enrol, group, keyed
from tests.support.instance import ISSUER, Instance, credentials_of, instance, node

from watchword.jose import Algorithm, PrivateKey
from watchword.jose.certificates import Certificate, certificate_thumbprint
from watchword.server.storage import schema

PROXY = {"client_cert_header": "client-cert", "trusted_proxies": ("127.0.0.1",)}
RS = "https://rs0.example/"


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url, **PROXY) as running:
        yield running


async def token(ww: Instance, client_id: str, one: Held | None) -> httpx.Response:
    """With the certificate."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "resource": RS}
    return await ww.http.post(f"{ISSUER}/token", data=form, headers=shown(one) if one else {})


async def renew(ww: Instance, client_id: str, one: Held | None, request: str) -> httpx.Response:
    """The next certificate."""
    headers = shown(one) if one else {}
    return await ww.http.post(f"{ISSUER}/enrol/renew", json={"client_id": client_id, "csr": request}, headers=headers)


# -- our own authority -----------------------------------------------------------------------------


async def test_a_device_gets_a_certificate_and_a_token_with_it(ww: Instance) -> None:
    """The certificate would open nothing; or say what the device said, and not what we know."""
    (code,) = await codes(ww, await group(ww, auth_methods=["tls_client_auth"], certificate_lifetime=86_400))
    assert (await ww.http.get(f"{ISSUER}/device-ca")).status_code == 404
    key = new_key()
    admin = [x509.UniformResourceIdentifier("urn:watchword:admin"), x509.DNSName("id.example")]
    answer = await enrol(ww, code, csr=csr(key, "administrator", admin), serial="SN-1")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["token_endpoint_auth_method"] == "tls_client_auth"
    assert "client_secret" not in made
    mine = held(made["certificate"], key)
    certificate = mine.certificate
    assert certificate.subject == cn(made["client_id"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [f"urn:uuid:{made['client_id']}"]
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert certificate.not_valid_after_utc.timestamp() == int(ww.clock.now) + 86_400 == made["certificate_expires_at"]
    got = await token(ww, made["client_id"], mine)
    assert got.status_code == 200, got.text
    assert got.json()["scope"] == "a:read"
    bundle = await ww.http.get(f"{ISSUER}/device-ca")
    assert bundle.headers["content-type"] == "application/pem-certificate-chain"
    assert bundle.text == made["certificate_authority"]
    signer = x509.load_pem_x509_certificate(bundle.content)
    certificate.verify_directly_issued_by(signer)
    assert (await token(ww, made["client_id"], None)).status_code == 401
    (kept,) = await applications(ww)
    assert (await token(ww, ww.admin[0], mine)).status_code == 401
    assert kept["tls_client_auth"]["subject_dn"] == f"CN={made['client_id']}"
    ww.clock.now += 86_401
    assert (await token(ww, made["client_id"], mine)).status_code == 401
    events = [one["event"] for one in (await ww.call("GET", "/audit")).json()["items"]]
    assert {"DeviceAuthorityAdded", "DeviceCertificateIssued", "DeviceEnrolled"} <= set(events)


async def test_a_lost_certificate_is_given_again_for_the_same_key_only(ww: Instance) -> None:
    """A device on a bad line would be locked out; or whoever knows its code get a certificate in its name."""
    (code,) = await codes(ww, await group(ww, auth_methods=["tls_client_auth"]))
    key = new_key()
    first = (await enrol(ww, code, csr=csr(key))).json()
    again = await enrol(ww, code, csr=csr(key))
    assert (again.status_code, again.json()["client_id"]) == (200, first["client_id"])
    assert (await token(ww, first["client_id"], held(again.json()["certificate"], key))).status_code == 200
    thief = await enrol(ww, code, csr=csr(new_key()))
    assert (thief.status_code, thief.json()["error"]) == (409, "enrolment_refused")
    assert "certificate" not in thief.json()
    assert (await enrol(ww, code)).status_code == 409
    assert (await enrol(ww, code, **keyed(ww, PrivateKey.generate(Algorithm.ES256)))).status_code == 409


async def test_a_certificate_is_renewed_with_the_one_that_is_still_good(ww: Instance) -> None:
    """A fleet would go dark on one day; or an old certificate, or another device's, bring a new one."""
    group_id = await group(ww, auth_methods=["tls_client_auth"], certificate_lifetime=86_400)
    code, other_code = await codes(ww, group_id, count=2)
    key, next_key, other_key = new_key(), new_key(), new_key()
    made = (await enrol(ww, code, csr=csr(key))).json()
    other = (await enrol(ww, other_code, csr=csr(other_key))).json()
    client_id, mine = made["client_id"], held(made["certificate"], key)
    ww.clock.now += 80_000
    renewed = await renew(ww, client_id, mine, csr(next_key))
    assert renewed.status_code == 200, renewed.text
    fresh = held(renewed.json()["certificate"], next_key)
    assert renewed.json()["certificate_expires_at"] == int(ww.clock.now) + 86_400
    assert (await token(ww, client_id, mine)).status_code == 200  # until it expires
    assert (await renew(ww, client_id, None, csr(next_key))).status_code == 401
    assert (await renew(ww, client_id, held(other["certificate"], other_key), csr(new_key()))).status_code == 401
    assert (await renew(ww, "nobody", mine, csr(new_key()))).status_code == 401
    assert (await renew(ww, client_id, fresh, csr(other_key))).status_code == 409
    assert (await enrol(ww, code, csr=csr(key))).status_code == 409  # the key was replaced
    ww.clock.now += 6_401
    assert (await renew(ww, client_id, mine, csr(key))).status_code == 401
    assert (await token(ww, client_id, fresh)).status_code == 200
    assert (await ww.call("POST", f"/applications/{client_id}/quarantine", {"reason": "x"})).status_code == 200
    assert (await renew(ww, client_id, fresh, csr(next_key))).status_code == 401
    assert (await ww.call("POST", f"/applications/{client_id}/release")).status_code == 200
    change = {"auth_methods": ["client_secret_basic"]}
    assert (await ww.call("PATCH", f"/enrolment-groups/{group_id}", change)).status_code == 200
    assert (await renew(ww, client_id, fresh, csr(next_key))).status_code == 409


async def test_the_authority_turns_and_is_removed(ww: Instance) -> None:
    """A stolen authority's certificates would count for ever; or a rotation put out every device at once."""
    first, second = await codes(ww, await group(ww, auth_methods=["tls_client_auth"]), count=2)
    keys = new_key(), new_key()
    one = (await enrol(ww, first, csr=csr(keys[0]))).json()
    turned = await ww.call("POST", "/device-authorities")
    assert turned.status_code == 201
    two = (await enrol(ww, second, csr=csr(keys[1]))).json()
    assert two["certificate_authority"] == turned.json()["pem"] != one["certificate_authority"]
    holders = [held(one["certificate"], keys[0]), held(two["certificate"], keys[1])]
    for made, holder in zip((one, two), holders, strict=True):
        assert (await token(ww, made["client_id"], holder)).status_code == 200
    listed = (await ww.call("GET", "/device-authorities")).json()["items"]
    assert Counter(each["state"] for each in listed) == {"active": 1, "retired": 1}
    assert not {"sealed", "key"} & listed[0].keys()
    old = next(each for each in listed if each["state"] == "retired")
    assert (await ww.call("DELETE", f"/device-authorities/{old['authority_id']}")).status_code == 204
    assert (await token(ww, one["client_id"], holders[0])).status_code == 401
    assert (await token(ww, two["client_id"], holders[1])).status_code == 200
    assert (await ww.http.get(f"{ISSUER}/device-ca")).text == turned.json()["pem"]
    assert (await ww.call("DELETE", f"/device-authorities/{old['authority_id']}")).status_code == 404


async def test_first_devices_that_come_at_once_make_one_authority(ww: Instance) -> None:
    """Half of the fleet would be signed by an authority that nobody has put into the listener's file."""
    async with node(ww.services.settings, ww.clock, ww.admin) as other:
        nodes = ww, other
        (code,) = await codes(ww, await group(ww, auth_methods=["tls_client_auth"]), uses=50)
        requests = [csr(new_key()) for _ in range(20)]
        answers = await asyncio.gather(*(enrol(nodes[n % 2], code, f"d{n}", csr=r) for n, r in enumerate(requests)))
        assert Counter(answer.status_code for answer in answers) == {201: 20}
        assert len({answer.json()["certificate_authority"] for answer in answers}) == 1
        key = csr(new_key())
        answers = await asyncio.gather(*(enrol(nodes[n % 2], code, f"e{n}", csr=key) for n in range(8)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}  # one key is one device
        assert len(await applications(ww)) == 21


async def test_another_tenants_device_is_a_stranger(ww: Instance) -> None:
    """One customer's devices would pass for those of another, if their names can be made to fit."""
    (code,) = await codes(ww, await group(ww, auth_methods=["tls_client_auth"]))
    key = new_key()
    made = (await enrol(ww, code, csr=csr(key))).json()
    created = await ww.call("POST", "/tenants", {"slug": "acme", "name": "Acme"})
    assert created.status_code == 201, created.text
    issuer = ISSUER.replace("default", "acme")
    assert (await ww.http.get(f"{issuer}/device-ca")).status_code == 404
    form = {"grant_type": "client_credentials", "client_id": made["client_id"]}
    headers = shown(held(made["certificate"], key))
    assert (await ww.http.post(f"{issuer}/token", data=form, headers=headers)).status_code == 401


async def test_a_listed_key_is_enough_for_a_certificate(ww: Instance) -> None:
    """A device with a secure element would need a code beside it to get a certificate."""
    key = new_key()
    group_id = await group(ww, ways=["key"], auth_methods=["tls_client_auth"])
    rows = {"rows": [{"serial": "SN-1", "thumbprint": thumbprint(key)}]}
    assert (await ww.call("POST", f"/enrolment-groups/{group_id}/expected", rows)).status_code == 200
    assert (await ask(ww, csr=csr(new_key()))).json()["error"] == "invalid_grant"
    made = await ask(ww, csr=csr(key))
    assert made.status_code == 201, made.text
    again = await ask(ww, csr=csr(key))
    assert (again.status_code, again.json()["client_id"]) == (200, made.json()["client_id"])
    assert (await applications(ww))[0]["serial"] == "SN-1"


def _signed_by_another() -> str:
    mine, theirs = csr(new_key()), csr(new_key())
    a, b = (x509.load_pem_x509_csr(text.encode()) for text in (mine, theirs))
    der = a.public_bytes(Encoding.DER)
    forged = der.replace(a.signature, b.signature[: len(a.signature)].ljust(len(a.signature), b"\0"))
    body = base64.encodebytes(forged).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


BAD = {
    "signed by another": _signed_by_another,
    "a short RSA key": lambda: csr(rsa.generate_private_key(65537, 1024)),
    "another curve": lambda: csr(ec.generate_private_key(ec.SECP256K1())),  # type: ignore[arg-type]
    "two requests": lambda: csr(new_key()) + csr(new_key()),
    "a certificate": lambda: issue(cn("x"), 1.8e9).pem,
    "no PEM": lambda: "x",
    "too long": lambda: csr(new_key(), "x" * 60) + " " * 8_192,
    "a number": lambda: 7,
    "empty": lambda: "",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_request_that_nobody_signs(tmp_path: Path, bad: Any) -> None:
    """A weak key, or one that the sender does not have, would be certified; or the code be used up by a mistake."""
    async with instance(tmp_path, **PROXY) as ww:
        (code,) = await codes(ww, await group(ww, auth_methods=["tls_client_auth"]))
        answer = await enrol(ww, code, csr=bad())
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert (await enrol(ww, code, csr=csr(ed25519.Ed25519PrivateKey.generate()))).status_code == 201


async def test_the_authoritys_key_is_sealed(ww: Instance) -> None:
    """Whoever steals a backup would make certificates for every device that there is."""
    (code,) = await codes(ww, await group(ww, auth_methods=["tls_client_auth"]))
    assert (await enrol(ww, code, csr=csr(new_key()))).status_code == 201
    (kept,) = (await ww.call("GET", "/device-authorities")).json()["items"]
    async with ww.services.storage.engine.connect() as connection:
        (body,) = (await connection.execute(sa.select(schema.device_authority.c.body))).scalars()
    assert kept["authority_id"].encode() in bytes(body)
    assert b"PRIVATE KEY" not in bytes(body)
    der = Certificate(x509.load_pem_x509_certificate(kept["pem"].encode()).public_bytes(Encoding.DER)).der
    assert certificate_thumbprint(der) == kept["authority_id"]


# -- the manufacturer's ----------------------------------------------------------------------------


async def test_a_manufacturers_certificate_lets_a_device_in_once(ww: Instance) -> None:
    """A certificate would be any number of devices, or the serial number be the device's own word."""
    now = ww.clock.now
    root = authority("maker", now)
    line = authority("line 7", now, root, path_length=0)
    group_id = await group(ww, ways=["certificate"], anchors=root.pem, name_pattern="m-{serial}", max_devices=9)
    one, other = idevid("SN-1", now, line), idevid("SN-2", now, line)
    made = await ask(ww, shown(one, line), group="sensors")
    assert made.status_code == 201, made.text
    assert made.json()["client_name"] == "m-SN-1"
    assert (await ww.token(credentials_of(made.json()))).status_code == 200
    late = await ask(ww, shown(one, line), group="sensors")
    assert late.status_code == 409  # its secret was used
    assert (await ask(ww, shown(other, line), group="sensors", serial="SN-1")).status_code == 409
    key = PrivateKey.generate(Algorithm.ES256)
    own = await ask(ww, shown(other, line), group="sensors", enrolment_id="device-1", **keyed(ww, key))
    assert own.json()["token_endpoint_auth_method"] == "private_key_jwt"
    third, request = idevid("SN-3", now, line), csr(new_key())
    change = {"auth_methods": ["tls_client_auth"]}
    assert (await ww.call("PATCH", f"/enrolment-groups/{group_id}", change)).status_code == 200
    answers = await asyncio.gather(*(ask(ww, shown(third, line), group="sensors", csr=request) for _ in range(6)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 5}
    assert len({answer.json()["client_id"] for answer in answers}) == 1
    assert sorted(one["serial"] for one in await applications(ww)) == ["SN-1", "SN-2", "SN-3"]


async def test_a_certificate_for_which_nobody_vouches(ww: Instance) -> None:
    """Anybody with a certificate would be let in, or learn which groups there are and what was wrong."""
    now = ww.clock.now
    maker, other = authority("maker", now), authority("other", now)
    await group(ww, ways=["certificate"], anchors=maker.pem)
    await group(ww, name="codes only", grants=[])
    refused = [
        await ask(ww, group="sensors"),
        await ask(ww, {"client-cert": ":AAAA:"}, group="sensors"),
        await ask(ww, shown(idevid("1", now, other)), group="sensors"),
        await ask(ww, shown(idevid("1", now, maker, ends=-DAY / 2)), group="sensors"),
        await ask(ww, shown(maker), group="sensors"),
        await ask(ww, shown(issue(cn("x"), now)), group="sensors"),
        await ask(ww, shown(idevid("1", now, maker)), group="codes only"),
        await ask(ww, shown(idevid("1", now, maker)), group="nobody"),
    ]
    told = [(one.status_code, one.json()["error"], one.json()["error_description"]) for one in refused]
    assert len(set(told)) == 1
    assert told[0][:2] == (400, "invalid_grant")
    assert await applications(ww) == []


async def test_a_maker_that_is_trusted_no_more(ww: Instance) -> None:
    """A manufacturer whose authority was stolen would go on filling the group."""
    now = ww.clock.now
    maker, next_maker = authority("maker", now), authority("next", now)
    group_id = await group(ww, ways=["certificate"], anchors=maker.pem)
    path = f"/enrolment-groups/{group_id}"
    assert (await ww.call("PATCH", path, {"anchors": next_maker.pem})).status_code == 200
    assert (await ask(ww, shown(idevid("1", now, maker)), group="sensors")).json()["error"] == "invalid_grant"
    assert (await ask(ww, shown(idevid("1", now, next_maker)), group="sensors")).status_code == 201
    for wrong in ({"anchors": ""}, {"anchors": "x"}, {"ways": ["code"]}, {"anchors": issue(cn("leaf"), now).pem}):
        assert (await ww.call("PATCH", path, wrong)).status_code == 400
    closed = {"ways": ["code"], "anchors": ""}
    assert (await ww.call("PATCH", path, closed)).status_code == 200
    assert (await ask(ww, shown(idevid("2", now, next_maker)), group="sensors")).json()["error"] == "invalid_grant"


async def test_a_list_of_serial_numbers_holds_for_certificates_too(ww: Instance) -> None:
    """Every device that the manufacturer ever made would come in, also those that others bought."""
    now = ww.clock.now
    maker = authority("maker", now)
    group_id = await group(ww, ways=["certificate"], anchors=maker.pem, only_expected=True)
    rows = {"rows": [{"serial": "SN-1"}]}
    assert (await ww.call("POST", f"/enrolment-groups/{group_id}/expected", rows)).status_code == 200
    assert (await ask(ww, shown(idevid("SN-2", now, maker)), group="sensors")).status_code == 409
    assert (await ask(ww, shown(idevid("SN-1", now, maker)), group="sensors")).status_code == 201
    assert (await ask(ww, shown(idevid("SN-1", now, maker)), group="sensors")).status_code == 409  # another key
