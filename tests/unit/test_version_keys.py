"""The keys of versions in the configuration: from the environment or a file, and never shown."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli import app
from stream.cli.worker import warn_if_unsigned
from stream.section import SettingsError
from stream.settings import Settings, load_settings

SECRET, OLDER = 32 * "s", 32 * "o"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that names a file of keys."""
    (tmp_path / "keys.txt").write_text(f"2026-11:{SECRET}\n2025-03:{OLDER}\n")
    file = tmp_path / "driftline.toml"
    keys = tmp_path / "keys.txt"
    file.write_text(f'[event.features.a]\n[versions]\nkeys_file = "{keys}"\n')
    return file


def test_keys_come_from_the_file_or_the_environment(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment wins; without either there are none."""
    ring = load_settings(config).versions.key_ring()
    assert ring is not None
    assert ring.ids == ("2026-11", "2025-03")
    monkeypatch.setenv("DRIFTLINE_VERSIONS__KEYS", f"k9:{SECRET}")
    ring = load_settings(config).versions.key_ring()
    assert ring is not None
    assert ring.ids == ("k9",)
    monkeypatch.delenv("DRIFTLINE_VERSIONS__KEYS")
    assert Settings(event={"features": {"a": {}}}).versions.key_ring() is None


def test_the_check_names_the_keys_and_shows_no_secret(config: Path) -> None:
    """Nor does anything else that prints settings."""
    shown = CliRunner().invoke(app, ["config", "check", "-c", str(config)])
    assert shown.exit_code == 0, shown.output
    assert "signed by 2026-11, also accepted: 2025-03" in shown.stdout
    settings = load_settings(config, {"versions": {"keys": f"k9:{SECRET}"}})
    for text in (shown.output, repr(settings), str(settings.model_dump())):
        assert SECRET not in text
        assert OLDER not in text


@pytest.mark.parametrize("content", ["", "\n", f"{SECRET}\n", "k1:short"])
def test_a_file_without_good_keys_is_an_error(config: Path, content: str) -> None:
    """An empty secret file must not turn signing off; the error names the file, not its content."""
    (config.parent / "keys.txt").write_text(content)
    shown = CliRunner().invoke(app, ["config", "check", "-c", str(config)])
    assert shown.exit_code == 1
    assert "keys.txt: " in shown.stderr
    assert SECRET not in shown.output
    (config.parent / "keys.txt").unlink()
    with pytest.raises(SettingsError, match=r"keys\.txt"):
        load_settings(config).versions.key_ring()


def test_a_worker_without_keys_says_so_once(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Clearly, and with the fix; a worker with keys has nothing to say."""
    with caplog.at_level(logging.WARNING):
        warn_if_unsigned(load_settings(config))
        assert caplog.records == []
        warn_if_unsigned(Settings(event={"features": {"a": {}}}))
    (record,) = caplog.records
    assert "versions are not signed" in record.message
    assert "versions.keys_file" in record.message
