"""spiffe_x509: the TLS client certificate is an X.509-SVID (draft-ietf-oauth-spiffe-client-auth section 3.2).

Only the CAs of its own trust domain are trusted for it: otherwise the CA of one domain could issue ids of another
(section 6 of the draft).
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
    """Authenticate by an identity rule that matches the id. Raises `InvalidClient`, always with the same text.

    A `client_id` that is a SPIFFE id has to be the certificate's; any other is associated with it by the rule.
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
