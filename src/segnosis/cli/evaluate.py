"""`segnosis evaluate`: a trained run, scored anew."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = (
    "segnosis evaluate runs/first path/to/data --json scores.json",
    'segnosis evaluate runs/first path/to/data --map "tumour=lesion" --map "ignore=3"',
)


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Run folder."),
    data: str = typer.Argument(
        "",
        metavar="DATA",
        help="Folder of images and masks; the run's own held-out samples when left out.",
        show_default=False,
    ),
    map_: list[str] = typer.Option(
        [],
        "--map",
        metavar="CLASS=THEIRS",
        help="Class of RUN = what DATA calls it, or its stored value; 'ignore=THEIRS' leaves one out. Repeatable.",
    ),
    json: Path | None = typer.Option(None, "--json", help="Write the scores here."),
    update: bool = typer.Option(False, "--update", help="Put the scores into RUN and its report; without DATA."),
) -> None:
    """Score RUN on samples with masks. Whole images, per class, with 95 % intervals; classes are matched by name."""
    from segnosis.cli.screen import Screen, ends_in, load_keras
    from segnosis.core.errors import ArgumentError
    from segnosis.core.run_folder import write_json
    from segnosis.jobs import evaluate
    from segnosis.jobs.run import opened
    from segnosis.report.scores_text import depth_table, details, table

    wrong = [pair for pair in map_ if not all(part.strip() for part in pair.partition("=")[::2])]
    if wrong:
        raise ArgumentError(
            "`--map` is a class of the run, an equals sign, and what the data calls it.",
            received={"--map": wrong[0]},
            cure='As in `--map "tumour=lesion"`, or `--map "tumour=2"`.',
        )
    if data and update:
        raise ArgumentError(
            "`--update` puts a run's own scores into it, and those are of its own held-out samples.",
            received={"DATA": data},
            cure="Leave DATA out, or write its scores elsewhere with `--json FILE`.",
        )
    classes = {theirs.strip(): ours.strip() for ours, _, theirs in (pair.rpartition("=") for pair in map_)}
    ends_in(json, "--json", ".json")
    opened(run)
    load_keras()
    screen = Screen()
    if update:
        scores = evaluate.update(run, listener=screen)
    else:
        scores = evaluate.evaluate(run, data, classes=classes, listener=screen)
    screen.close()
    if json is not None:
        write_json(json, scores)
    print(table(scores, of="images" if data else "held-out images"))
    print(details(scores))
    if "depths" in scores:
        print(depth_table(scores["depths"]))
