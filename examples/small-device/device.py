"""A sensor that gets a token over CoAP and sends measurements with it. Runs on MicroPython and on CPython.

    python device.py device.json 21.5

`device.json`: issuer, client_id, client_secret, audience, scope, and `as` and `api`, each [host, port]. The secret
never travels: it signs a short statement (client_secret_jwt, RFC 7523), and the answer is a token (CWT, RFC 8392).
"""

import binascii
import hashlib
import json
import os
import socket
import struct
import sys
import time

TOKEN, EXPIRES_IN, AUDIENCE, SCOPE, ERROR, DESCRIPTION = 1, 2, 5, 9, 30, 31  # RFC 9200 section 8.10
POST, CREATED, CHANGED, UNAUTHORIZED = 0x02, 0x41, 0x44, 0x81  # RFC 7252 section 12.1
URI_PATH, CONTENT_FORMAT, ACE_CBOR, CBOR = 11, 12, 19, 60
CON, ACK = 0, 2


class Refused(Exception):
    """The other side said no: the code (4.01 is 0x81) and what it said."""


# -- CBOR: what the two requests need (RFC 8949) -------------------------------------------------


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for extra, size in ((24, ">B"), (25, ">H"), (26, ">I")):
        if n < 1 << 8 * struct.calcsize(size):
            return bytes([major << 5 | extra]) + struct.pack(size, n)
    raise ValueError("too large")


def encode(value):
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return head(3, len(raw)) + raw
    # In the order that is asked for (section 4.2.1): on MicroPython a dict has another one than it was written in.
    return head(5, len(value)) + b"".join(sorted(encode(key) + encode(value[key]) for key in value))


def decode(raw, at=0):
    """The value and where it ends; raises ValueError or IndexError for what is not read here."""
    major, n, at = raw[at] >> 5, raw[at] & 31, at + 1
    if 24 <= n <= 26:
        size = 1 << n - 24
        n, at = int.from_bytes(raw[at : at + size], "big"), at + size
    elif n > 26:
        raise ValueError("CBOR that is not read here")
    if major == 0:
        return n, at
    if major == 1:
        return -1 - n, at
    if major in (2, 3):
        found = raw[at : at + n]
        return (found if major == 2 else found.decode()), at + n
    if major != 5:
        raise ValueError("CBOR that is not read here")
    made = {}
    for _ in range(n):
        key, at = decode(raw, at)
        made[key], at = decode(raw, at)
    return made, at


# -- CoAP over UDP: one confirmable request, repeated until it is answered (RFC 7252 section 4.2) --


def options(path, content_format):
    made, before = b"", 0
    for number, value in [(URI_PATH, part.encode()) for part in path] + [(CONTENT_FORMAT, bytes([content_format]))]:
        short = len(value) if len(value) < 13 else 13
        made += bytes([number - before << 4 | short]) + (b"" if short < 13 else bytes([len(value) - 13])) + value
        before = number
    return made


def payload_of(message, at):
    """What follows the options of an answer."""
    while at < len(message) and message[at] != 0xFF:
        sizes, at = (message[at] >> 4, message[at] & 15), at + 1
        at += sum(n - 12 for n in sizes if n > 12) + (sizes[1] if sizes[1] < 13 else message[at] + 13)
    return message[at + 1 :]


def post(address, path, content_format, payload, tries=5, wait=2.0):
    """Code and payload of the answer. Raises OSError when there is none after all tries."""
    message_id, token = os.urandom(2), os.urandom(4)
    message = bytes([0x40 | CON << 4 | len(token), POST]) + message_id + token
    message += options(path, content_format) + b"\xff" + payload
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.connect(socket.getaddrinfo(address[0], address[1])[0][-1])
        for _ in range(tries):
            udp.send(message)
            udp.settimeout(wait * (1 + os.urandom(1)[0] / 512))
            try:
                return answer_to(udp, message_id, token)
            except OSError:
                wait *= 2
    finally:
        udp.close()
    raise OSError(f"no answer from {address[0]}:{address[1]}")


def answer_to(udp, message_id, token):
    while True:
        found = udp.recv(2048)
        if len(found) < 4 or found[0] >> 6 != 1:
            continue
        kind, size = found[0] >> 4 & 3, found[0] & 15
        if found[1] == 0 and kind == ACK and found[2:4] == message_id:
            continue  # it was received, and the answer comes in a message of its own
        if found[4 : 4 + size] != token or (kind == ACK and found[2:4] != message_id):
            continue
        if kind == CON:
            udp.send(bytes([0x40 | ACK << 4, 0]) + found[2:4])
        return found[1], payload_of(found, 4 + size)


# -- the statement that proves the device ----------------------------------------------------------


def b64url(raw):
    return binascii.b2a_base64(raw).strip().replace(b"+", b"-").replace(b"/", b"_").rstrip(b"=")


def hmac_sha256(key, data):
    key = hashlib.sha256(key).digest() if len(key) > 64 else key
    key = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes(k ^ 0x36 for k in key) + data).digest()
    return hashlib.sha256(bytes(k ^ 0x5C for k in key) + inner).digest()


def unix_time():
    """Some boards count from 2000. The clock must be right within 10 s: set it by NTP."""
    return int(time.time()) + (946684800 if time.gmtime(0)[0] == 2000 else 0)


def statement(known):
    now, me = unix_time(), known["client_id"]
    jti = binascii.hexlify(os.urandom(12)).decode()
    claims = {"iss": me, "sub": me, "aud": known["issuer"], "iat": now, "exp": now + 60, "jti": jti}
    signed = b64url(b'{"alg":"HS256"}') + b"." + b64url(json.dumps(claims).encode())
    return signed + b"." + b64url(hmac_sha256(known["client_secret"].encode(), signed))


class Device:
    """Keeps its token until shortly before it ends, or until the API does not take it any more."""

    def __init__(self, known):
        self.known, self.token, self.until = known, None, 0

    def fresh_token(self):
        if self.token is None or unix_time() >= self.until:
            asked = {AUDIENCE: self.known["audience"], SCOPE: self.known["scope"]}
            asked["client_assertion"] = statement(self.known)
            path = ("t", self.known["issuer"].rsplit("/", 1)[1], "token")
            code, payload = post(self.known["as"], path, ACE_CBOR, encode(asked))
            if code != CREATED:
                raise Refused(code, decode(payload)[0] if payload else {})
            told = decode(payload)[0]
            self.token, self.until = told[TOKEN], unix_time() + told[EXPIRES_IN] - 30
        return self.token

    def send(self, value):
        """True once the API has it; an API that does not take the token is asked again with a new one, once."""
        for again in (True, False):
            body = encode({0: self.fresh_token(), 1: value})
            code, payload = post(self.known["api"], ("measurements",), CBOR, body)
            if code == CHANGED:
                return True
            if code != UNAUTHORIZED or not again:
                raise Refused(code, payload)
            self.token = None


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        device = Device(json.load(file))
    for argument in sys.argv[2:]:
        device.send(float(argument))
        print("sent", argument, "with a token of", len(device.token), "bytes")
