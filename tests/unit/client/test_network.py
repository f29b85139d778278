"""`Network`: what is not set keeps the value that is usual for the kind of request."""

import pytest

from watchword.client import ClientCredentials, Network


def test_one_setting_leaves_the_others() -> None:
    """A device that only asked for a longer timeout would enrol with fewer tries than one that asked for nothing."""
    network = Network(timeout=30.0)
    assert (network.timeout_or(10.0), network.tries_or(5)) == (30.0, 5)
    assert (Network(tries=1).timeout_or(10.0), Network(tries=1).tries_or(5)) == (10.0, 1)
    with pytest.raises(ValueError, match="tries"):
        Network(tries=0)


@pytest.mark.parametrize("name", ["timeout", "tries", "insecure_http", "transport", "token_endpoint", "auth_method"])
def test_settings_of_the_network_have_one_place(name: str) -> None:
    """A setting in the wrong place that was silently ignored would be found out in production."""
    with pytest.raises(TypeError, match=name):
        ClientCredentials("https://id.example", "an-id", "a-secret", **{name: None})
