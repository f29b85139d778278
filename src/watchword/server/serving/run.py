"""Run the server under uvicorn, with uvloop and httptools; its supervisor replaces a worker that dies."""

from __future__ import annotations

import logging
import os
import resource
import signal

import msgspec
import uvicorn

from ..config import INHERITED, Settings
from .listener import Certificates, Listener
from .no_core_dumps import no_core_dumps

FILES_BESIDE = 300
"""Open files that are no callers' connections: databases, listeners, log, the reserve for health checks."""


def connections_of(wanted: int) -> int:
    """As many of them as the limit on open files leaves room for, once it is raised as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + FILES_BESIDE if hard == resource.RLIM_INFINITY else min(hard, wanted + FILES_BESIDE)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    return max(1, min(wanted, enough - FILES_BESIDE))


def listener_of(settings: Settings) -> Listener:
    """Of the addresses that count for many callers, and of the files of TLS. Raises `OSError` when those do not fit."""
    proxies = settings.trusted_proxies
    if not settings.tls_cert:
        return Listener(proxies=proxies)
    certificates = Certificates(
        settings.tls_cert, settings.tls_key, settings.client_ca, settings.client_cert == "required"
    )
    certificates.load()
    return Listener(certificates, proxies)


def run(settings: Settings) -> None:
    """uvicorn with uvloop and httptools; several workers under its supervisor, which replaces one that dies.

    SIGHUP ends nothing: one worker reads its certificate files again, several are replaced one after another.
    """
    no_core_dumps()
    os.environ[INHERITED] = msgspec.json.encode(settings).decode()
    logging.basicConfig(level=logging.INFO if settings.debug else logging.WARNING)
    try:
        listener = listener_of(settings)
    except OSError as error:
        logging.error("cannot read --tls-cert, --tls-key or --client-ca: %s", error)
        raise SystemExit(1) from None
    signal.signal(signal.SIGHUP, lambda *_: listener.look_again())
    uvicorn.run(
        "watchword.server.serving.worker:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=listener,  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application looks at them: see server/app.py
        timeout_graceful_shutdown=10,
        timeout_keep_alive=settings.keep_alive,
        backlog=65_535,  # as long as the kernel lets it be: net.core.somaxconn
        limit_concurrency=connections_of(settings.max_connections),
    )
