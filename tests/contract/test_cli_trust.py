"""Versions that were tampered with, on the command line: listed, refused, and rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import redis.asyncio

from models import checkpoint
from models.sealing import KeyRing
from stream.learners import load_exported, new_learner
from stream.replay import fold
from tests.contract.test_cli_with_servers import Application, cut, example

SECRET = 32 * "s"
KEYS = f"k1:{SECRET}"
N = 50
Tamper = Callable[[bytes, bytes], tuple[bytes, bytes]]


@pytest.fixture
def signed(
    tmp_path: Path, kafka: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Application:
    """An application with examples, and two versions that are signed."""
    monkeypatch.setenv("DRIFTLINE_VERSIONS__KEYS", KEYS)
    application = Application(tmp_path, kafka, redis_url)
    application.run("topics", "create")
    examples = [example(i) for i in range(N)]
    application.publish("examples", examples)
    for n in (30, N):
        learner = new_learner(application.settings)
        list(fold(learner, [list(enumerate(examples[:n]))]))
        cut(application, learner)
    return application


def tamper(application: Application, how: Tamper) -> None:
    """Change what is stored as the newest version."""

    async def do(store) -> None:
        meta, blob = how(*await store.read_version(f"v1-{N}"))
        await store.restore_version(f"v1-{N}", meta, blob)

    application.store(do)


def flip_state(meta: bytes, blob: bytes) -> tuple[bytes, bytes]:
    return meta, blob[:99] + bytes([blob[99] ^ 1]) + blob[100:]


def lose_metadata(meta: bytes, blob: bytes) -> tuple[bytes, bytes]:
    return meta[: len(meta) // 2], blob


def sign_with(keys: KeyRing | None) -> Tamper:
    def how(meta: bytes, blob: bytes) -> tuple[bytes, bytes]:
        return checkpoint.seal(checkpoint.peek(meta)[0], blob, keys), blob

    return how


def written_by(river: str) -> Tamper:
    def how(data: bytes, blob: bytes) -> tuple[bytes, bytes]:
        meta = checkpoint.peek(data)[0]
        old = msgspec.structs.replace(meta, libraries={**meta.libraries, "river": river})
        return checkpoint.seal(old, blob, KeyRing.parse(KEYS)), blob

    return how


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (flip_state, "wrong_signature"),
        (lose_metadata, "damaged"),
        (sign_with(None), "unsigned"),
        (sign_with(KeyRing.parse("k1:" + 32 * "z")), "wrong_signature"),
        (sign_with(KeyRing.parse("k0:" + 32 * "z")), "unknown_key"),
        (written_by("0.25.0"), "libraries"),
    ],
)
def test_a_tampered_version_is_shown_refused_and_rebuilt(
    how: Tamper, reason: str, signed: Application
) -> None:
    """The sentence of the refusal is true: what it says to run puts a good version there."""
    expected = signed.run_json("versions", "show", "latest")["fingerprint"]
    signed.run("versions", "verify")
    tamper(signed, how)

    newest, other = signed.run_json("versions", "list")
    assert (newest["id"], newest["refused"]) == (f"v1-{N}", reason)
    assert (other["key"], other["refused"]) == ("k1", None)
    assert f"REFUSED ({reason})" in signed.run("versions", "list").stdout
    said = signed.run("versions", "verify", exit_code=1).stdout
    assert f"`driftline replay --version v1-{N} --store`" in said
    assert "signed by k1: version v1-30 verifies" in said
    assert SECRET not in said
    file = signed.folder / "model"
    signed.run("versions", "export", "latest", str(file), exit_code=1)
    assert not file.exists()
    assert signed.run_json("replay", "--version", "latest", exit_code=1)["equal"] is None

    report = signed.run_json("replay", "--version", f"v1-{N}", "--store")
    assert report["written"] == [f"version v1-{N} in Redis"]
    assert signed.run_json("replay", "--version", "latest")["equal"]
    rebuilt = signed.run_json("versions", "verify")[0]
    assert (rebuilt["id"], rebuilt["reason"], rebuilt["key"]) == (f"v1-{N}", "rebuilt", "k1")
    assert rebuilt["fingerprint"] == expected
    assert "written" not in signed.run_json("replay", "--version", "latest", "--store")


def test_the_refusal_of_another_river_names_both(signed: Application) -> None:
    """And what to do, in the same sentence."""
    tamper(signed, written_by("0.25.0"))
    said = signed.run("versions", "export", "latest", "x", exit_code=1).stderr
    running = checkpoint.libraries()["river"]
    assert f"was written by river 0.25.0 and this is river {running}" in said
    assert f"`driftline replay --version v1-{N} --store`" in said


def test_a_rebuilt_version_can_be_written_to_a_file(signed: Application) -> None:
    """As an export: it loads, by its key; existing files are left alone."""
    file = signed.folder / "model"
    written = signed.run_json("replay", "--to-position", "30", "--out", str(file))["written"]
    assert written == [str(file), f"{file}.json"]
    assert load_exported(file, keys=KeyRing.parse(KEYS)).n_learned == 30
    assert "exists" in signed.run("replay", "--out", str(file), exit_code=1).stderr
    assert "--version" in signed.run("replay", "--store", exit_code=1).stderr


def test_a_version_that_lost_its_content_is_listed_and_rebuilt(signed: Application) -> None:
    """The key is gone, the list of versions still names it."""

    async def lose() -> None:
        async with redis.asyncio.Redis.from_url(signed.redis_url) as client:
            await client.hdel(f"{{{signed.app}}}:version:v1-{N}", "blob")

    asyncio.run(lose())
    assert signed.run_json("versions", "list")[0]["refused"] == "missing"
    signed.run("replay", "--version", f"v1-{N}", "--store")
    signed.run("versions", "verify")


def test_without_the_key_signed_versions_are_shown_unchecked(
    signed: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And say so."""
    monkeypatch.delenv("DRIFTLINE_VERSIONS__KEYS")
    assert "signed by k1, not checked" in signed.run("versions", "list").stdout
    signed.run("versions", "verify")
    tamper(signed, sign_with(None))
    assert "not signed" in signed.run("versions", "show", "latest").stdout
