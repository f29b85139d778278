"""Django REST framework: an authentication class and a permission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from watchword.resource.claims import Claims
from watchword.resource.client_certificate import of_environ
from watchword.resource.django import authorization, proof
from watchword.resource.errors import AccessRefused, InsufficientScope, TokenMissing
from watchword.resource.protected_resource import ProtectedResource, named_scope
from watchword.resource.refusal import RETRY_AFTER
from watchword.resource.request_id import request_id


@dataclass(frozen=True)
class Caller:
    """The type of ``request.user``: an application, never a person."""

    client_id: str
    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False


class TokenAuthentication(BaseAuthentication):  # type: ignore[misc]
    """Subclass it with ``resource = ProtectedResource(verifier)`` and name it in ``authentication_classes``.

    ``request.auth`` is then the `Claims`, ``request.user`` a `Caller`. Without a permission such as
    `HasScope` a view stays open to requests without a token: that is how REST framework works.
    """

    resource: ClassVar[ProtectedResource]

    def authenticate(self, request: Request) -> tuple[Caller, Claims] | None:
        """None without a token; else the caller and its claims. Raises `Refused`."""
        try:
            shown = of_environ(request.META, self.resource.proxy)
            claims = self.resource.claims(authorization(request), None, shown, lambda: proof(request))
        except TokenMissing:
            return None
        except AccessRefused as refused:
            raise Refused(self.resource, refused, request) from None
        return Caller(claims.client_id), claims

    def authenticate_header(self, _request: Request) -> str:
        """The bare challenge, for a request without a token."""
        return self.resource.refuse(TokenMissing("no bearer token")).headers["WWW-Authenticate"]


class HasScope(BasePermission):  # type: ignore[misc]
    """``permission_classes = [HasScope.of("a:read")]``; without a scope, any good token."""

    scope: ClassVar[str | None] = None

    @classmethod
    def of(cls, scope: str) -> type[HasScope]:
        """A permission that needs ``scope`` (several with spaces: all of them)."""
        return type("HasScope", (cls,), {"scope": named_scope(scope)})

    def has_permission(self, request: Request, _view: Any) -> bool:
        """True, False for a request without a token, or `Refused`."""
        authenticator = request.successful_authenticator
        if not isinstance(authenticator, TokenAuthentication) or not isinstance(request.auth, Claims):
            return False
        if self.scope is not None and not request.auth.scopes.issuperset(self.scope.split()):
            refused = InsufficientScope(self.scope)
            refused.scheme = "DPoP" if request.auth.dpop_key else refused.scheme
            raise Refused(authenticator.resource, refused, request)
        return True


class Refused(APIException):  # type: ignore[misc]
    """A refusal (RFC 6750) as an exception that REST framework's own handler turns into the answer.

    That handler sets no header of ours: the caller's request id is in the log, and not in the answer; and DPoP
    works without nonces only.
    """

    def __init__(self, resource: ProtectedResource, refused: AccessRefused, request: Request) -> None:
        answer = resource.refuse(refused, request_id(request.headers.items()))
        super().__init__(answer.document)
        self.status_code = answer.status
        self.auth_header = answer.headers.get("WWW-Authenticate")
        self.wait = RETRY_AFTER if "Retry-After" in answer.headers else None
