"""spiffe_x509 (draft-ietf-oauth-spiffe-client-auth section 3.2): the certificate of a TLS handshake is an X.509-SVID.

Only the authorities of its own trust domain vouch for it: with the tenant's anchors together, one domain's authority
could make the ids of another's (section 6 of the draft).
"""

from __future__ import annotations

from ....jose.certificates import MAX_CHAIN, Certificate, UnacceptableCertificate, read_certificate
from ...registry.certificates import spiffe_id
from ...registry.identity_rules import matching, rules_of
from ...registry.model import Application
from ..errors import InvalidClient
from ..request import Credentials
from .grounds import Grounds, Proven


def prove(application: Application, presented: Credentials, grounds: Grounds) -> Proven:
    """By an identity rule of the application that holds for the id. Raises `InvalidClient`, one and the same.

    A `client_id` that is a SPIFFE id is the certificate's; any other is associated with it by the rule.
    """
    shown = presented.certificate
    assert shown is not None
    try:
        certificate = read_certificate(shown.certificate)
        certificate.check_times(grounds.now)
        subject = spiffe_id(certificate)
        chain = [Certificate(der) for der in shown.unverified_chain[:MAX_CHAIN]]
        grounds.anchors.verify(certificate, chain, grounds.now)
    except UnacceptableCertificate as error:
        raise InvalidClient(detail=f"X.509-SVID: {error.rule}") from None
    if application.client_id.startswith("spiffe://") and application.client_id != subject:
        raise InvalidClient(detail="X.509-SVID: it is not the client_id's", rule="sub")
    rule = matching(rules_of(application, grounds.trusted), {"sub": subject})
    if rule is None:
        raise InvalidClient(detail="X.509-SVID: no identity rule holds", rule="identity")
    return Proven(key_id=certificate.thumbprint, identity_id=rule.rule_id, foreign_subject=subject)
