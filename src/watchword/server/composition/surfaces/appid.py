"""Wires the App ID surface: tokens for applications, and management for administrators."""

from __future__ import annotations

from ...http.administration import Administration
from ...http.appid.bodies import read_token_request
from ...http.appid.documents import AppIdDocuments
from ...http.appid.handlers import AppIdHandlers
from ...http.appid.management import AppIdManagement
from ...http.appid.questions import AppIdQuestions
from ...http.appid.runtime import AppIdRuntime
from ...http.front import Asgi
from ...http.oauth.metadata import PublicDocuments
from ...http.oauth.token import TokenEndpoint
from ..services import Services


def mount_appid(services: Services, administration: Administration, base_path: str) -> dict[str, Asgi]:
    """Both parts, by the prefix of their paths."""
    issuer_of = services.appid_issuer_of
    handlers = AppIdHandlers(services.desk, services.keys.rotate, issuer_of, services.base_url)
    return {
        "/oauth/v4/": _runtime(services, base_path),
        "/management/v4/": AppIdManagement(handlers, administration, services.view, base_path),
    }


def _runtime(services: Services, base_path: str) -> AppIdRuntime:
    settings, tokens = services.settings, services.tokens
    documents = PublicDocuments(settings.key_publish_ahead)
    token = TokenEndpoint(
        issue=tokens.issue,
        surface=tokens.appid,
        refusals=tokens.refusals,
        body_timeout=settings.body_timeout,
        deadline=services.deadline,
        read=read_token_request,
    )
    return AppIdRuntime(
        services.view,
        base_path,
        token,
        AppIdQuestions(
            who=services.clients.who,
            check=tokens.check,
            revoke=tokens.revoke,
            refusals=tokens.refusals,
            body_timeout=settings.body_timeout,
            deadline=services.deadline,
        ),
        AppIdDocuments(documents, services.appid_issuer_of, services.base_url),
    )
