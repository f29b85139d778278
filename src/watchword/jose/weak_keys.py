"""Refuse Ed25519 points and RSA moduli that protect nothing: everyone can forge their signatures."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .errors import UnacceptableKey

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
"""The y of a point of order 8; the other one is -y. The other small orders have y = 0, 1 and -1."""
_SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})

_SMALL_FACTORS = math.prod(p for p in range(3, 1000, 2) if all(p % q for q in range(3, 32, 2) if q < p))
_TESTED_BITS = 3072
"""OpenSSL refuses the long exponent of the test below for longer moduli; Python alone would take 0.2 s for one."""
_HASH_INFO = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(b"").digest()


def check_point(raw: bytes) -> None:
    """An Ed25519 public key: the one encoding of a point (RFC 8032 section 5.1.3), not of small order.

    A key of small order accepts signatures that nobody made. Raises `UnacceptableKey`.
    """
    y = int.from_bytes(raw, "little") & (1 << 255) - 1
    square = y * y % _P
    # x squared is (y^2 - 1) / (d y^2 + 1): a square exactly if the product of the two is one.
    if y >= _P or y in _SMALL_ORDER or _jacobi((square - 1) * (_D * square + 1) % _P, _P) != 1:
        raise UnacceptableKey("an Ed25519 key is a point of large order, in its one encoding (RFC 8032 section 5.1.3)")


def _jacobi(a: int, n: int) -> int:
    """The Jacobi symbol (a/n) for odd n: 1 for a square modulo a prime. A quarter of the time of a power of a."""
    sign = 1
    while a:
        twos = (a & -a).bit_length() - 1
        a >>= twos
        if twos & 1 and n & 7 in (3, 5):
            sign = -sign
        if a & n & 2:  # both are 3 modulo 4: the law of reciprocity
            sign = -sign
        a, n = n % a, a
    return sign if n == 1 else 0


def check_modulus(n: int) -> None:
    """What is cheap enough for every key: parity, factors below 1000, a perfect square. Raises `UnacceptableKey`."""
    if n % 2 == 0 or math.gcd(n, _SMALL_FACTORS) != 1 or math.isqrt(n) ** 2 == n:
        raise UnacceptableKey("an RSA modulus is the product of two large, different primes")


def check_is_composite(n: int) -> None:
    """For keys that are registered or fetched: a prime modulus. Raises `UnacceptableKey`.

    3 ms at 2048 bits and 10 ms at 3072, once per modulus; longer moduli pass (decision 0080).
    """
    if n.bit_length() <= _TESTED_BITS and _is_prime(n):
        raise UnacceptableKey("an RSA modulus is the product of two large, different primes")


@lru_cache(1024)
def _is_prime(n: int) -> bool:
    """Fermat's test, calculated by OpenSSL: is s^(n-1) = 1?

    A signature s = 1/m of the message m verifies with the exponent n-2 exactly if s^(n-2) = m = 1/s.
    """
    size = (n.bit_length() + 7) // 8
    message = b"\0\1" + b"\xff" * (size - 3 - len(_HASH_INFO)) + b"\0" + _HASH_INFO  # RFC 8017 section 9.2
    signature = pow(int.from_bytes(message, "big"), -1, n).to_bytes(size, "big")
    try:
        rsa.RSAPublicNumbers(n - 2, n).public_key().verify(signature, b"", padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
