"""The tables of a study of counterfactuals, from one command."""

import sys

import pandas as pd
import pytest
import warm_process
from command_line import ROOT, environment

STUDY = [
    "explainer=dvce",
    "classifier=digits",
    "data=digits",
    "denoiser@explainer.denoiser=digits",
    "data.limit=12",
    "infiller=mean",
    "target=pairs",
    "target_pairs=[[0,6,near],[1,8,near],[2,3,near],[3,8,near],[0,1,far],[1,0,far],[2,6,far]]",
    "target_kind=near,far",
    "classifier.seed=0,1",
    "explainer.variable=x_t,x0",
    "explainer.budget=0.4",
    "explainer.estimates=0",
    "metrics=[validity,cost]",
    "evaluation.contrasts=[explainer.variable,target_kind]",
    "logger=none",
    "figures=false",
    "callbacks=[score_sweep]",
    "hydra.sweep.dir=study",
]


def test_a_grid_of_two_by_two_by_two_is_what_pandas_says(tmp_path):
    line = [sys.executable, ROOT / "explain.py", "-m", *STUDY]
    done = warm_process.run(line, tmp_path, environment())
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "study" / "evaluation"
    scores = pd.read_csv(folder / "scores_long.csv", dtype={"row": str})
    assert scores["row"].nunique() == 8
    for name in ("classifier.seed", "explainer.variable", "target_kind"):
        scores[name] = scores["row"].str.extract(rf"(?:^| ){name}=(\S+)")[0]
    chosen = scores[(scores["metric"] == "validity") & (scores["column"] == "p_target")]
    for key in ("explainer.variable", "target_kind"):
        others = [n for n in ("classifier.seed", "explainer.variable", "target_kind") if n != key]
        table = pd.read_csv(folder / "contrasts" / f"{key}.csv")
        table = table[table["column"] == "p_target"]
        assert len(table) == 4
        before, after = table["before"].iloc[0], table["after"].iloc[0]
        wide = chosen.pivot_table(index=[*others, "id"], columns=key, values="value")
        expected = (wide[after] - wide[before]).dropna().groupby(others).agg(["mean", "count"])
        for values, (mean, n) in zip(expected.index, expected.to_numpy(), strict=True):
            words = {f"{k}={v}" for k, v in zip(others, values, strict=True)}
            (line,) = (row for _, row in table.iterrows() if set(row["rest"].split()) == words)
            assert line["difference"] == pytest.approx(mean)
            assert line["n"] == n > 0
    assert "excluded" in (folder / "tables.md").read_text()  # digits that no pair begins with
