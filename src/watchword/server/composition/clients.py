"""Wires the wing `clients`: how applications authenticate, and with which keys."""

from __future__ import annotations

from msgspec import Struct

from ...jose.nonces import Nonces
from ..protocol.dpop import ProofRules
from ..protocol.proof_jwt import Window
from ..service.clients.authenticate_client import AuthenticateClient
from ..service.clients.client_keys import ClientKeys
from ..service.clients.dry_run_identity import DryRunIdentity
from ..service.clients.guesses import Guesses
from ..service.clients.imported_secrets import FREE, ImportedSecrets
from ..service.clients.issuer_keys import IssuerKeys
from ..service.clients.prove_client import ProveClient
from ..service.clients.prove_possession import ProvePossession
from ..service.clients.secret_use import SecretUse
from .foundation import NONCES, Foundation


class Clients(Struct, frozen=True, kw_only=True):
    """Who is asking, at every endpoint."""

    prove: ProveClient
    who: AuthenticateClient
    proofs: ProofRules
    possession: ProvePossession
    dry_run: DryRunIdentity
    guesses: Guesses
    uses: SecretUse


def wire_clients(base: Foundation) -> Clients:
    """The wing over this database."""
    settings, clock = base.settings, base.world.clock
    issuer_keys = IssuerKeys(base.fetch, clock)
    prove, proofs = _prove(base, issuer_keys), _proof_rules(base)
    return Clients(
        prove=prove,
        who=AuthenticateClient(base.view, prove, base.commits, clock),
        proofs=proofs,
        possession=ProvePossession(base.commits, proofs, clock),
        dry_run=DryRunIdentity(base.desk, issuer_keys, base.issuer_of, Window(settings.clock_tolerance)),
        guesses=Guesses(base.world.random_bytes(16), settings.wrong_proofs),
        uses=SecretUse(base.storage.journal.save_uses),
    )


def _prove(base: Foundation, issuer_keys: IssuerKeys) -> ProveClient:
    clock = base.world.clock
    return ProveClient(
        view=base.view,
        imported=ImportedSecrets(base.storage.store, base.pepper, clock, Guesses(base.world.random_bytes(16), FREE)),
        keys=ClientKeys(base.fetch, base.master, clock),
        issuers=issuer_keys,
        issuer_of=base.issuer_of,
        pepper=base.pepper,
        window=base.window(base.settings.assertion_life),
    )


def _proof_rules(base: Foundation) -> ProofRules:
    return ProofRules(
        nonces=Nonces(base.master.derive(NONCES)),
        window=base.window(base.settings.dpop_proof_life),
        nonce_required=base.settings.dpop_nonce,
    )
