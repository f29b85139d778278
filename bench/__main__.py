"""`make bench`: the server on one core, the load on the other; floor and rival in the same rounds; medians and spread."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from . import adapters, fleet, footprint, instructions, neighbours, proofs, registered, storm, verification, worst
from .load import interleaved, rate, rates, signatures
from .servers import floor, installed_rival, rival, watchword
from .table import Row, heading, ratio, show

TABLES = ("tokens", "postgres", "questions", "proofs", "verification", "adapters", "footprint", "neighbours")


def tokens(folder: Path, rounds: int, seconds: int) -> None:
    """/token on SQLite, by algorithm."""
    heading("Tokens: SQLite, audit durable before the answer")
    project = installed_rival(folder)
    for algorithm, of_floor, of_signing in (("ES256", 0.45, None), ("RS256", None, 0.8)):
        with ExitStack() as stack:
            base = stack.enter_context(floor(folder, algorithm))
            ours = stack.enter_context(watchword(folder / f"sqlite-{algorithm}", algorithm)).tokens(algorithm)
            theirs = stack.enter_context(rival(folder, project, algorithm)).tokens()
            runs = {each.name: partial(rate, each, folder, seconds) for each in (base, ours, theirs)}
            found = interleaved({**runs, "signatures": lambda of=algorithm: signatures(of, 2)}, rounds)
        least = 8_000.0 if algorithm == "ES256" else None
        show(
            Row(f"floor (uvloop and httptools, the same cryptography), {algorithm}", found[base.name]),
            Row(f"Watchword, {algorithm}", found[ours.name], bar=least),
            ratio("of the floor", found[ours.name], found[base.name], of_floor),
            Row(f"signatures and nothing else, {algorithm}", found["signatures"]),
            ratio("of what the core can sign", found[ours.name], found["signatures"], of_signing),
            Row(f"oidc-provider, in memory, {algorithm}", found[theirs.name]),
            ratio("Watchword to oidc-provider", found[ours.name], found[theirs.name]),
        )


def postgres(folder: Path, rounds: int, seconds: int) -> None:
    """/token on PostgreSQL; its processes run on the load's core."""
    from tests.support.postgres import Postgres

    heading("Tokens: PostgreSQL on the load's core, fsync on, audit durable before the answer")
    cluster = Postgres.start(own=True)
    try:
        for pid in cluster.pids():
            _pin(pid)
        with ExitStack() as stack:
            base = stack.enter_context(floor(folder, "ES256"))
            database = cluster.fresh_database()
            ours = stack.enter_context(watchword(folder / "postgres", "ES256", database=database)).tokens("ES256")
            found = rates([base, ours], folder, rounds, seconds)
        show(
            Row("floor, ES256", found[base.name]),
            Row("Watchword, ES256", found[ours.name], bar=8_000.0),
            ratio("of the floor", found[ours.name], found[base.name], 0.45),
        )
    finally:
        cluster.stop()


def _pin(pid: int) -> None:
    import os

    os.sched_setaffinity(pid, {1})  # what it starts later inherits this


def questions(folder: Path, rounds: int, seconds: int) -> None:
    """/introspect and /jwks."""
    heading("Introspection and key sets")
    project = installed_rival(folder)
    with ExitStack() as stack:
        ours = stack.enter_context(watchword(folder / "questions", "ES256"))
        theirs = stack.enter_context(rival(folder, project, "ES256"))
        targets = [ours.introspections(), ours.keys(), theirs.introspections(), theirs.keys()]
        found = rates(targets, folder, rounds, seconds)
        new = []
        for part in range(rounds):
            target = ours.first_introspections(20_000 * seconds, part)
            new.append(rate(target, folder, seconds))
        memory = footprint.resident(ours.pid)
    show(
        Row("introspections, a token seen before", found[targets[0].name], bar=9_000.0),
        Row("introspections, each token new", new, bar=5_000.0),
        Row("oidc-provider, introspections of one opaque token", found[targets[2].name]),
        Row("key sets", found[targets[1].name]),
        Row("oidc-provider, key sets", found[targets[3].name]),
        Row("memory of the worker after that", [memory], " MB", 120.0, most=True),
    )


def proving(folder: Path, rounds: int, seconds: int) -> None:
    """Without a secret, or with a bound token."""
    heading("Tokens for callers that prove more; ES256, SQLite, audit and used proofs durable before the answer")
    project = installed_rival(folder)
    header = {"WATCHWORD_CLIENT_CERT_HEADER": "client-cert", "WATCHWORD_TRUSTED_PROXIES": "127.0.0.1"}
    with ExitStack() as stack:
        ours = proofs.registered(stack.enter_context(watchword(folder / "proofs", "ES256", **header)))
        base = stack.enter_context(rival(folder, project, "ES256", *proofs.RIVAL_CLIENTS)).base
        theirs = proofs.Known(base, ("caller", "x" * 43), "signed", "certified")
        for name, way in (
            ("private_key_jwt, each assertion once", proofs.Known.assertions),
            ("DPoP, each proof once", proofs.Known.dpop),
            ("mutual TLS, as a proxy passes it on", proofs.Known.certificate),
        ):
            found = interleaved(
                {"ours": way(ours, name, folder, seconds), "theirs": way(theirs, name, folder, seconds)}, rounds
            )
            show(
                Row(name, found["ours"]),
                Row("oidc-provider, in memory", found["theirs"]),
                ratio("Watchword to oidc-provider", found["ours"], found["theirs"], 2.0),
            )


def verifying(_: Path, rounds: int, __: int) -> None:
    """The resource library beside others."""
    heading("Verification in the API, ES256, issuer, audience and expiry judged; microseconds of CPU a token")
    found = verification.measured(rounds)
    us = " µs"
    show(
        *(
            Row(name, figures, us, *((3.0, True) if name == "Verifier, again" else ()))
            for name, figures in found.items()
        )
    )
    fastest = [min(each) for each in zip(*(found[name] for name in ("PyJWT", "Authlib", "joserfc")), strict=True)]
    show(
        ratio("the signature's share of a new token", found["the signature alone"], found["Verifier"], 0.75),
        ratio("fastest of the three to Verifier, new tokens", fastest, found["Verifier"], 1.0),
        ratio("PyJWT to Verifier, repeated tokens", found["PyJWT, again"], found["Verifier, again"], 20.0),
    )


def adapting(_: Path, rounds: int, __: int) -> None:
    """The frameworks."""
    heading("What an adapter adds to a request with a token seen before; microseconds of CPU")
    show(*(Row(name, figures, " µs") for name, figures in asyncio.run(adapters.measured(rounds)).items()))


def footprints(_: Path, rounds: int, __: int) -> None:
    """Start and memory."""
    heading("Start and memory")
    show(
        Row("`import watchword.client`", footprint.import_time(5 * rounds), " ms", 60.0, most=True),
        Row("`watchword serve` to its first answer", footprint.start_time(rounds), " s", 1.5, most=True),
        Row("100,000 tokens of 700 characters in the client's memory", [footprint.cached_tokens()], " MB"),
    )


def main() -> None:
    """All of it, or what is named; what needs a machine or a run of its own, by itself."""
    apart: tuple[tuple[str, Any], ...] = (
        ("fleet", fleet), ("instructions", instructions), ("registered", registered), ("storm", storm), ("worst", worst)
    )  # fmt: skip
    for name, alone in apart:
        if sys.argv[1:2] == [name]:
            sys.exit(alone.main(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each run of wrk")
    given = parser.parse_args()
    if unknown := set(given.tables) - set(TABLES):
        parser.error(f"no table {', '.join(sorted(unknown))}")
    run = dict(
        zip(
            TABLES,
            (tokens, postgres, questions, proving, verifying, adapting, footprints, neighbours.neighbours),
            strict=True,
        )
    )
    for name in given.tables or TABLES:
        folder = Path(tempfile.mkdtemp())
        try:
            run[name](folder, given.rounds, given.seconds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n")


main()
