"""Images that divide two rows of a table the most, for `data.ids=FILE.txt`.

python scripts/best_and_worst.py FOLDER/scores_long.csv sensitivity.ssim lime_g lime FILE.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from fido.evaluation.extremes import extremes
from fido.runtime.files import write_text


def main(arguments: list[str] | None = None) -> None:
    """Write the ids, one a line: the best ones first, the worst ones after them."""
    parser = argparse.ArgumentParser(prog="python scripts/best_and_worst.py", description=__doc__)
    parser.add_argument("scores", type=Path, help="scores_long.csv of an evaluation")
    parser.add_argument("number", help="METRIC.COLUMN, sensitivity.ssim or localization.alpha_iou")
    parser.add_argument("first", help="row of the table whose lead is looked for")
    parser.add_argument("second", help="row that it is compared with")
    parser.add_argument("output", type=Path, help="text file of ids")
    parser.add_argument("--count", type=int, default=100, help="images of each kind")
    options = parser.parse_args(arguments)
    metric, _, column = options.number.partition(".")
    rows = (options.first, options.second)
    try:
        scores = pd.read_csv(options.scores, dtype={"id": str})
        best, worst = extremes(scores, metric, column, *rows, options.count)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    write_text(options.output, "\n".join([*best, *worst]) + "\n")
    print(
        f"{options.output}: {len(best)} images on which {rows[0]} is ahead of {rows[1]} the most,"
    )
    print(f"then {len(worst)} on which it is behind the most, by {options.number}")


if __name__ == "__main__":
    main()
