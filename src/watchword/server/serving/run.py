"""Run the server under uvicorn, with uvloop and httptools; its supervisor replaces a worker that dies."""

from __future__ import annotations

import logging
import os
import resource

import msgspec
import uvicorn

from ..config import INHERITED, Settings
from .connection import Connection
from .listener import context_factory
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


def run(settings: Settings) -> None:
    """uvicorn with uvloop and httptools; several workers under its supervisor, which replaces one that dies."""
    no_core_dumps()
    os.environ[INHERITED] = msgspec.json.encode(settings).decode()
    tls = context_factory(settings.client_ca, settings.client_cert == "required") if settings.tls_cert else None
    logging.basicConfig(level=logging.INFO if settings.debug else logging.WARNING)
    uvicorn.run(
        "watchword.server.serving.worker:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application looks at them: see server/app.py
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
        ssl_context_factory=tls,
        timeout_graceful_shutdown=10,
        backlog=65_535,  # as long as the kernel lets it be: net.core.somaxconn
        limit_concurrency=connections_of(settings.max_connections),
    )
