"""`watchword broker-config`: how mail servers and brokers are told to take this issuer's tokens.

Each file is whole for its purpose, authentication, and nothing else: ports, TLS and storage stay the operator's.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from .. import profile, say

broker_config = typer.Typer(
    no_args_is_help=True, help="Configuration of Dovecot, RabbitMQ, Kafka, NATS, PostgreSQL, Mosquitto."
)

Api = Annotated[str, typer.Option(help="The API's identifier: the audience that tokens must have")]
Issuer = Annotated[str | None, typer.Option(help="Whose tokens; else the profile's")]
Ca = Annotated[Path | None, typer.Option(help="CA certificate of the issuer, if the system does not know it")]
Out = Annotated[Path | None, typer.Option(help="Folder to write to; else the files are printed")]
Files = dict[str, str]


class Listener(StrEnum):
    """How PostgreSQL is reached: by TLS, by TCP of any kind, by its Unix socket."""

    hostssl = "hostssl"
    host = "host"
    local = "local"


SECRETS: Final = frozenset({"watchword-oauth2.conf.ext"})
"""Files that may hold a client secret: nobody but their owner reads them."""


@broker_config.command()
def dovecot(
    api: Api,
    scope: Annotated[str, typer.Option(help="The scope that a token needs")],
    keys: Annotated[
        Path | None, typer.Option(help="Verify with the keys that `key export --format dovecot` wrote here")
    ] = None,
    introspect_as: Annotated[
        str | None, typer.Option(help="Introspect instead, as this introspector of the API (client_secret_post)")
    ] = None,
    secret_file: Annotated[Path | None, typer.Option(help="Where that client's secret is")] = None,
    issuer: Issuer = None,
    ca: Ca = None,
    out: Out = None,
) -> None:
    """IMAP, POP3 and submission by OAUTHBEARER: by local keys, or by introspection (sees revocations at once)."""
    known = issuer or profile.load().issuer
    folder = out.absolute() if out else Path("/etc/dovecot")
    if keys is not None and introspect_as is None:
        how = _dovecot_keys(keys, known, api)
    elif introspect_as is not None and keys is None and secret_file is not None:
        how = _dovecot_introspection(introspect_as, _secret(secret_file), known, ca)
    else:
        raise typer.BadParameter("say --keys FOLDER, or --introspect-as CLIENT_ID and --secret-file FILE")
    oauth2 = [
        *how,
        f"scope = {_plain(scope)}",
        "username_attribute = sub",
        "username_format = %u",
        f"openid_configuration_url = {_plain(known)}/.well-known/openid-configuration",
    ]
    main = [
        "auth_mechanisms = oauthbearer",
        "passdb {",
        "  driver = oauth2",
        "  mechanisms = oauthbearer",
        f"  args = {_plain(str(folder))}/watchword-oauth2.conf.ext",
        "}",
    ]
    _deliver(out, {"10-watchword.conf": _text(main), "watchword-oauth2.conf.ext": _text(oauth2)})


def _dovecot_keys(keys: Path, issuer: str, api: str) -> list[str]:
    """`client_id` is what Dovecot calls the audience: without it a token for any API logs in."""
    return [
        "introspection_mode = local",
        f"local_validation_key_dict = fs:posix:prefix={_plain(str(keys.absolute()))}/",
        f"issuers = {_plain(issuer)}",
        f"client_id = {_plain(api)}",
    ]


def _dovecot_introspection(client_id: str, secret: str, issuer: str, ca: Path | None) -> list[str]:
    """The server answers `active` only for APIs whose introspector this client is. Dovecot posts its secret."""
    trust = [f"tls_ca_cert_file = {_plain(str(ca.absolute()))}"] if ca else []
    return [
        "introspection_mode = post",
        f"introspection_url = {_plain(issuer)}/introspect",
        f"client_id = {_plain(client_id)}",
        f"client_secret = {_plain(secret)}",
        "active_attribute = active",
        "active_value = true",
        *trust,
    ]


@broker_config.command()
def rabbitmq(
    api: Api = "rabbitmq",
    algorithm: Annotated[str, typer.Option(help="The API's signing algorithm")] = "ES256",
    issuer: Issuer = None,
    ca: Ca = None,
    out: Out = None,
) -> None:
    """AMQP and MQTT with the token as password; scopes are API.read:VHOST/QUEUE and so on."""
    known = issuer or profile.load().issuer
    trust = [f"auth_oauth2.https.cacertfile = {_plain(str(ca.absolute()))}"] if ca else []
    lines = [
        "auth_backends.1 = rabbit_auth_backend_oauth2",
        f"auth_oauth2.resource_server_id = {_plain(api)}",
        f"auth_oauth2.jwks_url = {_plain(known)}/jwks",
        "auth_oauth2.https.peer_verification = verify_peer",
        "auth_oauth2.https.hostname_verification = wildcard",
        *trust,
        f"auth_oauth2.algorithms.1 = {_plain(algorithm)}",
        "mqtt.allow_anonymous = false",
    ]
    plugins = "[rabbitmq_auth_backend_oauth2,rabbitmq_mqtt].\n"
    _deliver(out, {"10-watchword.conf": _text(lines), "enabled_plugins": plugins})


@broker_config.command()
def kafka(
    api: Api,
    listener: Annotated[str, typer.Option(help="The listener's name in `listeners`")] = "SASL_SSL",
    reauthenticate: Annotated[int, typer.Option(help="Seconds that a connection lives without a newer token")] = 3_600,
    issuer: Issuer = None,
    ca: Ca = None,
    out: Out = None,
) -> None:
    """SASL/OAUTHBEARER for Apache Kafka 4; principals are User:CLIENT_ID, and ACLs say what they may do."""
    known = _plain(issuer or profile.load().issuer)
    trust = _kafka_trust(ca) if ca else ""
    security = "org.apache.kafka.common.security.oauthbearer"
    named = f"listener.name.{_plain(listener).lower()}"
    lines = [
        "sasl.enabled.mechanisms=OAUTHBEARER",
        f"{named}.sasl.enabled.mechanisms=OAUTHBEARER",
        f"{named}.oauthbearer.sasl.jaas.config={security}.OAuthBearerLoginModule required{trust};",
        f"{named}.oauthbearer.sasl.server.callback.handler.class={security}.OAuthBearerValidatorCallbackHandler",
        f"{named}.connections.max.reauth.ms={reauthenticate * 1000}",
        # Kafka 4.1's default validator looks at no signature when a broker uses it: anybody's token would do.
        f"sasl.oauthbearer.jwt.validator.class={security}.BrokerJwtValidator",
        f"sasl.oauthbearer.jwks.endpoint.url={known}/jwks",
        f"sasl.oauthbearer.expected.issuer={known}",
        f"sasl.oauthbearer.expected.audience={_plain(api)}",
        "sasl.oauthbearer.sub.claim.name=sub",
        "sasl.oauthbearer.scope.claim.name=scope",
        "sasl.oauthbearer.clock.skew.seconds=0",
    ]
    allowed = f'export KAFKA_OPTS="-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={known}/jwks $KAFKA_OPTS"\n'
    _deliver(out, {"watchword.properties": _text(lines), "watchword.env": allowed})


def _kafka_trust(ca: Path) -> str:
    """Options of the login module, whose own login fails when it has options and no name.

    The unsecured token that it makes with that name is for a broker that calls others over this listener, and is
    refused by every verifying one.
    """
    store = f'ssl.truststore.type="PEM" ssl.truststore.location="{_plain(str(ca.absolute()))}"'
    return f' unsecuredLoginStringClaim_sub="unused" {store}'


@broker_config.command()
def postgresql(
    validator: Annotated[str, typer.Option(help="The validator module: a library's name, as in dynamic_library_path")],
    scope: Annotated[
        str, typer.Option(help="The scope that clients are told to ask for, and the validator must demand")
    ],
    role: Annotated[
        list[str], typer.Option(help="CLIENT_ID=ROLE: who may log in as which database role; repeat it for each")
    ],
    listener: Annotated[Listener, typer.Option(help="The first word of the line in pg_hba.conf")] = Listener.hostssl,
    issuer: Issuer = None,
    out: Out = None,
) -> None:
    """OAuth logins for PostgreSQL 18. The validator module is not ours: it judges issuer, audience and scope."""
    known = _plain(issuer or profile.load().issuer)
    where = "all all" if listener is Listener.local else "all all all"
    options = f'issuer="{known}" scope="{_plain(scope)}" validator="{_plain(validator)}" map="watchword"'
    _deliver(
        out,
        {
            "watchword_hba.conf": _text([f"{listener.value} {where} oauth {options}"]),
            "watchword_ident.conf": _text([_postgresql_role(one) for one in role]),
            "watchword.conf": _text([f"oauth_validator_libraries = '{_plain(validator)}'"]),
        },
    )


def _postgresql_role(pair: str) -> str:
    """To pg_ident.conf a leading slash is a regular expression, in quotes as well."""
    client_id, _, role = pair.partition("=")
    if client_id.startswith("/") or role.startswith("/"):
        raise typer.BadParameter(f"{pair!r}: name one client id and one role")
    return f'watchword "{_plain(client_id)}" "{_plain(role)}"'


@broker_config.command()
def nats(
    keys: Annotated[Path, typer.Option(help="Folder of the callout's keys; those that are missing are made")],
    account: Annotated[str, typer.Option(help="The account in which clients live")] = "APP",
    out: Out = None,
) -> None:
    """Auth callout for NATS: each login is judged by `watchword broker-auth nats`, which needs the same keys."""
    try:
        from .nats_keys import KeysMissing, make_keys
    except ImportError:
        say.fail("nkeys is not installed", "pip install 'watchword[nats]'")
    try:
        made = make_keys(keys)
    except (KeysMissing, OSError) as error:
        say.fail(str(error), "remove it, and a new one is made; the server must be told of it")
    lines = [
        "accounts {",
        # One that is not the clients': whoever may publish in it could ask for users' rights.
        f'  WATCHWORD {{ users: [ {{ nkey: "{made.user}" }} ] }}',
        f'  "{_plain(account)}" {{}}',
        "}",
        "authorization {",
        "  timeout: 5",
        "  auth_callout {",
        f'    issuer: "{made.issuer}"',
        "    account: WATCHWORD",
        f'    auth_users: [ "{made.user}" ]',
        "  }",
        "}",
    ]
    _deliver(out, {"watchword.conf": _text(lines)})


@broker_config.command()
def mosquitto(
    plugin: Annotated[Path, typer.Option(help="Where watchword_mosquitto.so is (contrib/mosquitto builds it)")],
    socket: Annotated[Path, typer.Option(help="Where `watchword broker-auth mosquitto` answers")],
    out: Out = None,
) -> None:
    """Mosquitto 2 with our plugin: each login is judged by `watchword broker-auth mosquitto`."""
    lines = [
        # Mosquitto 2.0 ticks for no plugin of a single listener, and expired logins would go on.
        "per_listener_settings false",
        "allow_anonymous false",
        f"plugin {_plain(str(plugin.absolute()))}",
        f"plugin_opt_socket {_plain(str(socket.absolute()))}",
    ]
    _deliver(out, {"watchword.conf": _text(lines)})


def _text(lines: list[str]) -> str:
    return "\n".join(["# Written by `watchword broker-config`.", *lines, ""])


def _plain(value: str) -> str:
    """A value that stays one value in all of these formats."""
    if not value or not value.isascii() or not value.isprintable() or set(value) & set(" \"'\\#$%;{}"):
        raise typer.BadParameter(f"{value!r} cannot stand in these configurations: no blanks, quotes or # $ % ; {{ }}")
    return value


def _secret(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        say.fail(f"the secret cannot be read: {error}", "write what `watchword app create` printed into that file")


def _deliver(out: Path | None, files: Files) -> None:
    """Into the folder, or to standard output with each file's name above it."""
    if out is None:
        for name, text in files.items():
            say.verbatim(f"# ---- {name}\n{text}")
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        fresh = out / f".{name}.new"
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if name in SECRETS else 0o644)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        fresh.replace(out / name)
    say.done(f"{', '.join(files)} in {out}")
