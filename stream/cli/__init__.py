"""The command line `driftline`: each command parses, calls and prints; the work is elsewhere.

    errors      every known error becomes a line with its fix, in one place
    common      the --config option, consoles and progress bars
    config      driftline config check | reference | show
    topics      driftline topics create | list
    topology    driftline topology
    produce     driftline produce
    tail        driftline tail
    evaluate    driftline evaluate
    drift_truth  driftline evaluate --drift-truth
    alert_tables  what it says of alerts
    replay      driftline replay
    control     driftline rollback | restore | freeze | thaw | threshold | audit
    challengers  driftline challenger add | drop | list, promote, compare
    evidence_plot  how evidence is drawn
    evidence_png  the same as a picture
    promotions  driftline mlflow
    versions    driftline versions list | show | verify | export
    lineages    driftline versions tree | diff
    retention   driftline versions tag | prune
    erasure     driftline versions seen
    without     what `--without` names
    reconcile   driftline reconcile
    clocks      driftline clocks
    importance  driftline importance
    recover     driftline recover
    dlq         driftline dlq list | show | replay
    dlq_view    how dead letters are shown
    worker      driftline worker
    demo        driftline demo | simulate

Libraries that are slow to import (pydantic, Kafka clients, River, Faust) are imported inside the
commands: help and completion must answer at once.
"""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from stream.cli import (
    challengers,
    clocks,
    config,
    control,
    demo,
    dlq,
    erasure,
    evaluate,
    importance,
    lineages,
    produce,
    promotions,
    reconcile,
    recover,
    replay,
    retention,
    tail,
    topics,
    topology,
    versions,
    worker,
)
from stream.cli.errors import ExplainingGroup

app = typer.Typer(
    name="driftline",
    cls=ExplainingGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # Local variables of a stack trace may hold passwords.
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Streaming online learning on Kafka: score events, learn from late labels, watch drift.",
    epilog="Start with: [bold]driftline config show fraud > driftline.toml[/bold], then "
    "[bold]driftline config check[/bold] and [bold]driftline topics create[/bold].",
)
app.add_typer(config.app, name="config")
app.add_typer(topics.app, name="topics")
versions.app.command()(lineages.tree)
for of_versions in (lineages.diff, retention.tag, retention.prune, erasure.seen):
    versions.app.command(no_args_is_help=True)(of_versions)
app.add_typer(versions.app, name="versions")
app.add_typer(dlq.app, name="dlq")
app.add_typer(control.threshold_app, name="threshold")
app.add_typer(challengers.app, name="challenger")
NEED_ARGUMENTS = (
    produce.produce,
    tail.tail,
    evaluate.evaluate,
    control.rollback,
    control.restore,
    challengers.promote,
)
for command in (
    worker.worker,
    produce.produce,
    tail.tail,
    evaluate.evaluate,
    replay.replay,
    topology.topology,
    reconcile.reconcile,
    clocks.clocks,
    importance.importance,
    recover.recover,
    challengers.promote,
    challengers.compare,
    control.rollback,
    control.restore,
    control.freeze,
    control.thaw,
    control.audit,
    promotions.mlflow,
):
    app.command(no_args_is_help=command in NEED_ARGUMENTS)(command)

demo.register(app)


def _version(asked: bool) -> None:
    if asked:
        try:
            print(metadata.version("driftline"))
        except metadata.PackageNotFoundError:
            print("not installed")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()
