"""`watchword curl`: which of curl's arguments could take the token to another host."""

from __future__ import annotations

import pytest

from watchword.cli.job.curl_arguments import checked_arguments
from watchword.client import wire


def check_target(url: str) -> None:
    """As `ClientCredentials.check_target` does."""
    wire.checked_url(url, "the URL", insecure_http=False)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-K", "file", "https://api.example"], id="a configuration file"),
        pytest.param(["-sKfile", "https://api.example"], id="among short options"),
        pytest.param(["--config=file", "https://api.example"], id="with an equals sign"),
        pytest.param(["--location-trusted", "https://api.example"], id="redirects with the header"),
        pytest.param(["https://api.example", "--next", "https://api.example"], id="a second request"),
        pytest.param(["-s:", "https://api.example"], id="a second request, short"),
        pytest.param(["https://api.example", "https://evil.example"], id="another host"),
        pytest.param(["https://api.example", "--url", "https://evil.example"], id="another host by --url"),
        pytest.param(["https://api.example", "--url=https://evil.example"], id="another host by --url="),
        pytest.param(["https://api.example", "https://api.example:444"], id="another port"),
        pytest.param(["http://api.example"], id="plain http"),
        pytest.param(["https://user@api.example"], id="userinfo"),
    ],
)
def test_a_token_goes_to_one_host(arguments: list[str]) -> None:
    """The token would go to a host that it was not meant for."""
    with pytest.raises(ValueError, match=r"."):
        checked_arguments(arguments, check_target)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-fsS", "-X", "POST", "-d", "callback=1", "https://api.example/a"],
        ["-d", "https://elsewhere.example", "https://api.example"],
        ["-H", "K: v", "-HX-K: v", "https://api.example"],
        ["-x", "https://proxy.example:3128", "https://api.example"],
        ["--json", "{}", "-L", "https://api.example/a", "https://api.example/b"],
        ["--fail", "api.example"],
    ],
)
def test_usual_calls_are_left_alone(arguments: list[str]) -> None:
    """A job that worked would end with "wrong use"."""
    assert checked_arguments(arguments, check_target) == arguments


@pytest.mark.parametrize("url", ["http://127.0.0.1:8480/", "http://localhost/", "https://[::1]:8480/"])
def test_loopback_never_goes_through_a_proxy(url: str) -> None:
    """HTTP_PROXY is set on many machines: the proxy would read the token."""
    assert checked_arguments([url], check_target) == ["--noproxy", "*", url]
