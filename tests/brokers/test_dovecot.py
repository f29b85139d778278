"""Dovecot takes our tokens over IMAP and submission, as `broker-config dovecot` sets it up.

Both ways: with exported keys it works without us and learns of a revocation when the token expires; by
introspection it learns at the next login.
"""

from __future__ import annotations

import imaplib
import os
import pwd
import smtplib
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.brokers.conftest import short_folder
from tests.brokers.issuer import Issuer, Registered
from tests.interop.gateways import program, running
from tests.support.served import free_ports

from watchword.client import AccessToken
from watchword.sasl import Refused, TokenSource
from watchword.sasl.mail import imap_login, smtp_login

pytestmark = pytest.mark.xdist_group("mail")  # one worker starts it
API, OTHER = "imap://mail.example", "imap://other.example"
SCOPE = "mail:read"
SHORT = 3
"""Seconds; long enough to log in with."""
WAYS = ["keys", "introspection"]
CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = /dev/stderr
protocols = imap submission
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {smtp}
  }}
  inet_listener submissions {{
    port = 0
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
!include {folder}/10-watchword.conf
"""


@dataclass(frozen=True)
class Dovecot:
    """A running one."""

    imap: int
    smtp: int
    folder: Path

    def log_in(self, source: TokenSource, authzid: str) -> imaplib.IMAP4:
        """An authenticated connection, or what `imap_login` raises."""
        mail = imaplib.IMAP4("127.0.0.1", self.imap, timeout=30)
        try:
            imap_login(mail, source, authzid=authzid)
        except BaseException:
            mail.shutdown()
            raise
        return mail


@pytest.fixture(scope="module")
def app(issuer: Issuer) -> Registered:
    for identifier in (API, OTHER):
        issuer.api(identifier, SCOPE, "mail:send", tokens={"type": "JWT", "algorithm": "RS256", "lifetime": 60})
    return issuer.application(API, SCOPE, "mail:send")


@pytest.fixture(scope="module")
def servers(issuer: Issuer, app: Registered) -> Iterator[dict[str, Dovecot]]:
    """Both ways at once: they start within a second."""
    guard = issuer.application(OTHER, kind="service", auth_method="client_secret_post")
    issuer.may_introspect(API, guard.client_id)
    with ExitStack() as stack:
        found, behind = {}, stack.enter_context(relay())
        for way in WAYS:
            folder = stack.enter_context(_folder())
            if way == "keys":
                issuer.watchword("key", "export", "--format", "dovecot", "--out", f"{folder}/keys")
                how = ["--keys", f"{folder}/keys"]
            else:
                (folder / "secret").write_text(guard.secret)
                how = [
                    "--introspect-as",
                    guard.client_id,
                    "--secret-file",
                    f"{folder}/secret",
                    "--ca",
                    _readable_ca(issuer, folder),
                ]
            issuer.watchword("broker-config", "dovecot", "--api", API, "--scope", SCOPE, *how, "--out", str(folder))
            root = os.getuid() == 0
            user = "dovecot" if root else pwd.getpwuid(os.getuid()).pw_name
            group = "dovecot" if root else str(os.getgid())
            made = Dovecot(*free_ports(2), folder)
            (folder / "mail").mkdir()
            (folder / "mail").chmod(0o777)
            config = folder / "dovecot.conf"
            config.write_text(
                CONFIG.format(folder=folder, user=user, group=group, imap=made.imap, smtp=made.smtp, relay=behind)
            )
            stack.enter_context(running([program("dovecot"), "-F", "-c", str(config)], made.imap, folder))
            found[way] = made
        yield found


@pytest.fixture(params=WAYS)
def dovecot(request: pytest.FixtureRequest, servers: dict[str, Dovecot]) -> Dovecot:
    return servers[request.param]


class _Relay(socketserver.StreamRequestHandler):
    """The mail server behind the submission service: it says yes to everything."""

    def handle(self) -> None:
        self.wfile.write(b"220 relay\r\n")
        for line in self.rfile:
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 yes\r\n")


@contextmanager
def relay() -> Iterator[int]:
    """Its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Relay) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


class _folder:
    """`short_folder` as a context."""

    def __enter__(self) -> Path:
        self._made = short_folder("dc")
        return next(self._made)

    def __exit__(self, *_: object) -> None:
        next(self._made, None)


def _readable_ca(issuer: Issuer, folder: Path) -> str:
    """A copy that Dovecot's own user may read."""
    copy = folder / "ca.pem"
    copy.write_bytes(issuer.ca.read_bytes())
    copy.chmod(0o644)
    return str(copy)


def holding(token: str) -> TokenSource:
    """A source that has one token."""
    return lambda: AccessToken(token, 0)


def refusal(dovecot: Dovecot, app: Registered, token: str) -> str | None:
    """The status of the challenge that refuses it."""
    with pytest.raises(Refused) as caught:
        dovecot.log_in(holding(token), app.client_id)
    return caught.value.status


def test_allowed(dovecot: Dovecot, issuer: Issuer, app: Registered) -> None:
    """The mailbox of an application could not be opened with its token."""
    source = issuer.credentials(app).token
    with dovecot.log_in(source, app.client_id) as mail:
        assert mail.select("INBOX")[0] == "OK"
        mail.append("INBOX", "", "", b"Subject: measured\r\n\r\n21.5\r\n")
    with dovecot.log_in(source, app.client_id) as mail:
        assert mail.select("INBOX")[1] == [b"1"]
        mail.store("1", "+FLAGS", "\\Deleted")
        mail.expunge()


def test_allowed_to_send(dovecot: Dovecot, issuer: Issuer, app: Registered) -> None:
    """smtplib knows no OAUTHBEARER: alerts of jobs would need a password."""
    with smtplib.SMTP("127.0.0.1", dovecot.smtp, timeout=30) as smtp:
        smtp_login(smtp, issuer.credentials(app).token, authzid=app.client_id)
        assert smtp.mail(f"{app.client_id}@device.example")[0] == 250
    with smtplib.SMTP("127.0.0.1", dovecot.smtp, timeout=30) as smtp, pytest.raises(Refused) as caught:
        smtp_login(smtp, holding("not.a.token"), authzid=app.client_id)
    assert caught.value.status == "invalid_token"


def test_wrong_scope(dovecot: Dovecot, issuer: Issuer, app: Registered) -> None:
    """A token for sending would read."""
    assert refusal(dovecot, app, issuer.token(app, "mail:send")) in {"invalid_token", "insufficient_scope"}


def test_another_api(dovecot: Dovecot, issuer: Issuer) -> None:
    """A token for one mail server would open the next one, and every API's token both."""
    elsewhere = issuer.application(OTHER, SCOPE)
    assert refusal(dovecot, elsewhere, issuer.token(elsewhere)) == "invalid_token"


def test_another_box(dovecot: Dovecot, issuer: Issuer, app: Registered) -> None:
    """A device would open the box of the next."""
    with pytest.raises(Refused):
        dovecot.log_in(issuer.credentials(app).token, "another")


def test_expired(dovecot: Dovecot, issuer: Issuer, app: Registered) -> None:
    """A token that leaked long ago would still log in."""
    assert refusal(dovecot, app, issuer.token(app, lives=-1)) == "invalid_token"


@pytest.mark.parametrize("way", WAYS)
def test_revoked(way: str, servers: dict[str, Dovecot], issuer: Issuer, app: Registered) -> None:
    """By introspection a revoked token logs in no more; by keys it does until it expires, as docs/brokers.md says."""
    token = issuer.token(app)
    servers[way].log_in(holding(token), app.client_id).logout()
    issuer.revoke(app, token)
    if way == "introspection":
        assert refusal(servers[way], app, token) == "invalid_token"
    else:
        servers[way].log_in(holding(token), app.client_id).logout()


@pytest.mark.parametrize("way", WAYS)
def test_a_live_connection_goes_on(way: str, servers: dict[str, Dovecot], issuer: Issuer, app: Registered) -> None:
    """What docs/brokers.md says: a login is judged once. Who relies on it ending would leave a thief connected."""
    token = issuer.token(app, lives=SHORT)
    mail = servers[way].log_in(holding(token), app.client_id)
    issuer.revoke(app, token)
    patience = time.monotonic() + 20
    while time.monotonic() < patience:
        try:
            servers[way].log_in(holding(token), app.client_id).logout()
        except Refused as refused:
            assert refused.status == "invalid_token"
            break
    else:
        raise AssertionError("the token logs in long after its end")
    assert mail.noop()[0] == "OK"
    assert mail.select("INBOX")[0] == "OK"
    mail.logout()


def test_disabled(servers: dict[str, Dovecot], issuer: Issuer) -> None:
    """An application that was shut out would keep its mailbox."""
    gone = issuer.application(API, SCOPE)
    token = issuer.token(gone)
    servers["introspection"].log_in(holding(token), gone.client_id).logout()
    issuer.disable(gone)
    assert refusal(servers["introspection"], gone, token) == "invalid_token"


def test_curl(dovecot: Dovecot, issuer: Issuer, app: Registered) -> None:
    """curl is how an operator tries it; the server would understand our client only."""

    def curl(token: str) -> int:
        url = f"imap://127.0.0.1:{dovecot.imap}/INBOX"
        options = ["--silent", "--max-time", "20", "--user", app.client_id, "--login-options", "AUTH=OAUTHBEARER"]
        return subprocess.run(
            ["curl", *options, "--oauth2-bearer", token, url], check=False, capture_output=True
        ).returncode

    assert curl(issuer.token(app)) == 0
    assert curl(issuer.token(app, lives=-1)) == 67, "67 is curl's word for a refused login"


def test_the_secret_is_its_owners(servers: dict[str, Dovecot]) -> None:
    """Every user of the mail server's machine would read the introspecting client's secret."""
    found = servers["introspection"].folder / "watchword-oauth2.conf.ext"
    assert found.stat().st_mode & 0o777 == 0o600
