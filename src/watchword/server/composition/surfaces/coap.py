"""Wires the CoAP endpoint, where devices ask for tokens (RFC 9200)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...storage.open import StartRefused
from ..services import Services

if TYPE_CHECKING:
    from ...coap.listener import CoapListener


async def listen_for_devices(services: Services) -> CoapListener | None:
    """Start the endpoint if the settings name an address; aiocoap is imported only then. Raises `StartRefused`."""
    address = services.settings.coap_address
    if address is None:
        return None
    from ...coap.listener import CoapListener
    from ...coap.token import TokenResource

    tokens = services.tokens
    resource = TokenResource(
        services.view, tokens.issue, tokens.native, tokens.refusals, services.deadline,
        protected=services.settings.coap_protected,
    )  # fmt: skip
    try:
        return await CoapListener.start(resource, *address)
    except OSError as error:
        raise StartRefused(f"cannot listen for CoAP at {services.settings.coap}: {error}") from None
