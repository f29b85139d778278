"""Log in to IMAP and SMTP servers with the standard library's `imaplib` and `smtplib`.

>>> with imaplib.IMAP4_SSL("mail.example") as mail:                                             # doctest: +SKIP
...     imap_login(mail, auth.token)
"""

from __future__ import annotations

import imaplib
import smtplib
import socket
import ssl

from watchword.sasl.client import MECHANISM, OAuthBearerClient
from watchword.sasl.errors import SaslError
from watchword.sasl.message import decode_line, encode_line
from watchword.sasl.token import TokenSource
from watchword.sasl.transport import is_local

_CONTINUE = 334
_SUCCEEDED = 235
_CANCEL = "*"


def imap_login(
    connection: imaplib.IMAP4, source: TokenSource, *, authzid: str = "", insecure_plain: bool = False
) -> None:
    """AUTHENTICATE OAUTHBEARER (RFC 9051 section 6.2.2); the connection is in the authenticated state after it.

    Args:
        source: ``ClientCredentials(...).token``. ``authzid``: the mailbox, if it is not the application's own.
        insecure_plain: allows sending the token to another machine without TLS; never in production.

    Raises:
        Refused, Malformed: see `watchword.sasl.errors`. ValueError: no TLS. TokenError: from the source.
    """
    _check_tls(connection.sock, insecure_plain)
    client = OAuthBearerClient(source().value, authzid=authzid, host=connection.host, port=connection.port)
    try:
        connection.authenticate(MECHANISM, client.respond)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:
        client.finish(succeeded=False)
    client.finish(succeeded=True)


def smtp_login(
    connection: smtplib.SMTP, source: TokenSource, *, authzid: str = "", insecure_plain: bool = False
) -> None:
    """AUTH OAUTHBEARER (RFC 4954 section 4), after STARTTLS or over SMTP_SSL. As `imap_login`.

    The token is sent after the server's challenge: most are too long for the line of the AUTH command (512 octets).
    """
    _check_tls(connection.sock, insecure_plain)
    connection.ehlo_or_helo_if_needed()
    client = OAuthBearerClient(source().value, authzid=authzid)
    code, reply = connection.docmd(f"AUTH {MECHANISM}")
    while code == _CONTINUE:
        try:
            answer = _line(client, decode_line(reply))
        except SaslError:
            connection.docmd(_CANCEL)
            raise
        code, reply = connection.docmd(answer)
    client.finish(succeeded=code == _SUCCEEDED)


def _line(client: OAuthBearerClient, unverified_challenge: bytes) -> str:
    return encode_line(client.respond(unverified_challenge)).decode("ascii")


def _check_tls(connected: socket.socket | None, insecure_plain: bool) -> None:
    """RFC 7628 section 4: without TLS an eavesdropper gets the token."""
    if connected is None:
        raise ValueError("the connection is not open")
    if not (insecure_plain or isinstance(connected, ssl.SSLSocket) or is_local(connected)):
        raise ValueError("use TLS before logging in (IMAP4_SSL, SMTP_SSL or starttls): the token would travel in clear")
