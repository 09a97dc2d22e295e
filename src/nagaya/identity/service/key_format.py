"""The form of API keys: prefix, 40 random base62 characters, and a CRC-32 that catches typing errors offline."""

import secrets
import zlib

PREFIX = "ZENPROKEY_"
"""What the stock client recognises a control plane's key by (zenml ≥ 0.84.3)."""
RANDOM_CHARACTERS = 40
CHECK_CHARACTERS = 6
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def checksum(body: str) -> str:
    """Returns the CRC-32 of `body` in 6 base62 characters."""
    value = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECK_CHARACTERS):
        value, digit = divmod(value, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def generate() -> str:
    """Returns a new key with 238 random bits."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return f"{PREFIX}{body}{checksum(body)}"


def well_formed(key: str) -> bool:
    """Whether `key` has the form and a right checksum, which says nothing about whether it exists."""
    body, check = key[len(PREFIX) : -CHECK_CHARACTERS], key[-CHECK_CHARACTERS:]
    return (
        key.startswith(PREFIX)
        and len(key) == len(PREFIX) + RANDOM_CHARACTERS + CHECK_CHARACTERS
        and set(key[len(PREFIX) :]) <= set(ALPHABET)
        and checksum(body) == check
    )
