"""A real Dovecot verifies a real token with the folder that `key export --format dovecot` wrote."""

from __future__ import annotations

import imaplib
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.flows.cli.test_command_line import serving, watchword
from tests.interop.gateways import free_port, program, running

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = oauthbearer
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
passdb {{
  driver = oauth2
  mechanisms = oauthbearer
  args = {folder}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
OAUTH = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
issuers = {issuer}
username_attribute = sub
scope = mail:read
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that Dovecot's own user may enter: its sockets' names are limited."""
    made = Path(tempfile.mkdtemp(prefix="dovecot"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def log_in(port: int, user: str, token: str) -> bool:
    """RFC 7628: whether Dovecot takes the token."""
    with imaplib.IMAP4("127.0.0.1", port, timeout=30) as mail:
        first = f"n,a={user},\1host=127.0.0.1\1port={port}\1auth=Bearer {token}\1\1".encode()
        answers = iter([first, b"\1"])
        try:
            return mail.authenticate("OAUTHBEARER", lambda _challenge: next(answers))[0] == "OK"
        except imaplib.IMAP4.error:
            return False


def test_dovecot_reads_the_exported_keys(folder: Path, tmp_path: Path) -> None:
    """The tree is right only if Dovecot finds the keys in it; and keys of another issuer must open nothing."""
    dovecot, port = program("dovecot"), free_port()
    user = "dovecot" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    with serving(tmp_path) as base:
        issuer = f"{base}/t/default"
        api = ("api", "create", "imap://mail.example", "--scope", "mail:read", "--type", "JWT", "--algorithm", "RS256")
        assert watchword(tmp_path, *api).returncode == 0
        made = watchword(tmp_path, "app", "create", "m", "--grant", "imap://mail.example=mail:read", "--json")
        application = json.loads(made.stdout)
        credentials = (application["client_id"], application["client_secret"])
        form = {"grant_type": "client_credentials", "resource": "imap://mail.example"}
        token = httpx.post(f"{issuer}/token", data=form, auth=credentials).json()["access_token"]
        out = str(folder / "keys")
        assert watchword(tmp_path, "key", "export", "--format", "dovecot", "--out", out).returncode == 0
    (folder / "oauth2.conf").write_text(OAUTH.format(folder=folder, issuer=issuer))
    group = "dovecot" if os.getuid() == 0 else str(os.getgid())
    (folder / "dovecot.conf").write_text(CONFIG.format(folder=folder, port=port, user=user, group=group))
    with running([dovecot, "-F", "-c", str(folder / "dovecot.conf")], port, folder):
        assert log_in(port, application["client_id"], token), (folder / "gateway.log").read_text()
        head, body, signature = token.split(".")
        assert not log_in(port, application["client_id"], f"{head}.{body}.{signature[::-1]}")
