"""How small devices reach us: the ACE-OAuth token endpoint over CoAP (RFC 9200). The only importer of `aiocoap`."""
