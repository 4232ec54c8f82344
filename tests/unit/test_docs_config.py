"""The reference of settings is generated, and complete."""

from pathlib import Path

from stream.reference import keys, reference
from stream.settings import load_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_settings_say() -> None:
    """`driftline config reference > docs/configuration.md` after every change of a setting."""
    assert PAGE.read_text(encoding="utf-8") == reference()


def test_every_key_has_a_description_and_a_type() -> None:
    """A setting nobody explains is a setting nobody dares to touch."""
    listed = keys()

    assert [key.name for key in listed if not key.description or not key.type] == []
    assert len(listed) == len({key.name for key in listed})
    assert "kafka.bootstrap" in {key.name for key in listed}


def test_the_environment_variables_of_the_page_work(monkeypatch) -> None:
    """The names on the page are the names that are read."""
    variables = {key.name: key.environment for key in keys()}
    monkeypatch.setenv(variables["kafka.partitions"], "3")
    monkeypatch.setenv(variables["join.ttl"], "2d")
    monkeypatch.setenv(variables["app"], "other")

    settings = load_settings("fraud")

    assert (settings.app, settings.kafka.partitions, settings.join.ttl) == ("other", 3, 172_800.0)
