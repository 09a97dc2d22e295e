"""Envelopes and the master key."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nagaya.crypto import CryptoError, KeyRing, MasterKey, associated_data

PLACE = associated_data("tenants", "jwt", "one")


@settings(max_examples=50, deadline=None)
@given(st.text(), st.integers(min_value=0))
def test_every_text_returns_and_every_change_is_noticed(text: str, position: int) -> None:
    key = MasterKey(b"k" * 32)
    envelope = key.seal(text, PLACE)
    assert key.open(envelope, PLACE) == text
    body = envelope.split(".")[2]
    raw = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    raw[position % len(raw)] ^= 1
    forged = envelope[: -len(body)] + base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    with pytest.raises(CryptoError, match="damaged"):
        key.open(forged, PLACE)


def test_an_envelope_is_bound_to_its_place_and_its_key() -> None:
    key, other = MasterKey(b"k" * 32), MasterKey(b"o" * 32)
    envelope = key.seal("secret", PLACE)
    with pytest.raises(CryptoError, match="another place"):
        key.open(envelope, associated_data("tenants", "jwt", "two"))
    with pytest.raises(CryptoError, match="was made with the key"):
        other.open(envelope, PLACE)
    for wrong in ("", "v1", "v2.x.y", "v1.x.", f"v1.{key.id}.!!!"):
        with pytest.raises(CryptoError):
            key.open(wrong, PLACE)


def test_two_envelopes_of_one_text_differ() -> None:
    key = MasterKey(b"k" * 32)
    assert key.seal("a", PLACE) != key.seal("a", PLACE)


def test_a_ring_reads_what_earlier_keys_sealed() -> None:
    old, new = MasterKey(b"o" * 32), MasterKey(b"n" * 32)
    ring = KeyRing(new, old)
    assert ring.open(old.seal("a", PLACE), PLACE) == "a"
    assert new.open(ring.seal("b", PLACE), PLACE) == "b"
    with pytest.raises(CryptoError):
        ring.open("nonsense", PLACE)


def test_derived_keys_differ_by_purpose_and_never_show() -> None:
    key = MasterKey(b"k" * 32)
    assert key.derive("a") != key.derive("b")
    assert key.derive("a") == MasterKey(b"k" * 32).derive("a")
    assert "6b6b" not in repr(key)


def test_of_many_callers_one_makes_the_key(tmp_path: Path) -> None:
    path, ids = tmp_path / "keys" / "master.key", []
    threads = [threading.Thread(target=lambda: ids.append(MasterKey.load_or_create(path).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1
    assert [item.name for item in path.parent.iterdir()] == ["master.key"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_is_missing_open_or_nonsense_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with pytest.raises(CryptoError, match="cannot be read"):
        MasterKey.load(path)
    path.write_text("short")
    path.chmod(0o644)
    with pytest.raises(CryptoError, match="chmod 600"):
        MasterKey.load(path)
    path.chmod(0o600)
    with pytest.raises(CryptoError, match="no master key"):
        MasterKey.load(path)
    path.write_text(base64.b64encode(b"short").decode())
    with pytest.raises(CryptoError, match="32 bytes"):
        MasterKey.load(path)
