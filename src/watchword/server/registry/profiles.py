"""Security profiles of a tenant, such as FAPI 2.0: the additional rules for its applications, APIs and tokens.

`fapi2` is the FAPI 2.0 Security Profile (Final) as far as the client credentials grant goes (decision 0044). A profile
only adds restrictions: all other rules apply as well.
"""

from __future__ import annotations

from msgspec import Struct

from .model import Api, Application, ProfileName, TokenSettings

FAPI_ALGORITHMS = ("PS256", "ES256", "EdDSA")
"""Section 5.4.1; RSA keys of 2048 bits and more, and no curve below P-256, are the rule everywhere."""


class Profile(Struct, frozen=True):
    """The rules of one profile. Empty lists restrict nothing."""

    name: ProfileName = ""
    auth_methods: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    """Allowed for assertions, and for access tokens that are JWTs."""
    audience_is_text: bool = False
    """Whether an assertion's `aud` has to be a string; an array is rejected, even with the issuer only."""
    bound: bool = False
    """Whether every token is bound to a key of its holder."""
    longest_token: int = 0
    """Seconds."""
    leeway: tuple[float, float] = (0.0, 300.0)
    """Minimum and maximum of the allowed clock difference, whatever the setting."""


PROFILES: dict[str, Profile] = {
    "": Profile(),
    "fapi2": Profile(
        name="fapi2",
        auth_methods=("private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"),  # 5.3.2.1, no. 6
        algorithms=FAPI_ALGORITHMS,
        audience_is_text=True,  # 5.3.2.1, no. 8
        bound=True,  # 5.3.2.1, no. 4 and 5
        longest_token=600,
        leeway=(10.0, 60.0),  # 5.3.2.1, no. 13: 10 s ahead is accepted, more than 60 s is refused
    ),
}


def application_gap(profile: Profile, application: Application) -> str:
    """Why an application would get no token; empty when it would. Keys at a `jwks_uri` are checked at their use."""
    method = application.auth_method
    if profile.auth_methods and method not in profile.auth_methods:
        return f"{method}: use one of {', '.join(profile.auth_methods)}"
    if profile.algorithms and method == "private_key_jwt":
        listed = [str(key.jwk.get("alg")) for key in application.keys]
        if listed and not set(listed) & set(profile.algorithms):
            return f"its keys are for {', '.join(listed)}: add one for {', '.join(profile.algorithms)}"
    answers = application.introspection_signed_response_alg
    if profile.algorithms and answers is not None and answers not in profile.algorithms:
        return f"introspection answers signed with {answers}: use one of {', '.join(profile.algorithms)}"
    return ""


def api_gap(profile: Profile, api: Api) -> str:
    """Why no token could be issued for an API; empty when one could."""
    if not signing_allowed(profile, api.tokens):
        return f"its tokens are signed with {api.tokens.algorithm}: use one of {', '.join(profile.algorithms)}"
    return ""


def signing_allowed(profile: Profile, tokens: TokenSettings) -> bool:
    """Whether the API's algorithm is allowed; opaque tokens are not signed."""
    return not profile.algorithms or tokens.format != "jwt" or tokens.algorithm in profile.algorithms
