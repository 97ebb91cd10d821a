"""What is said before, during and after a run."""

import io

import pytest
import torch
from command_line import explain
from planted import write_photo

from fido.app.explain import check_explained
from fido.app.messages import check_names
from fido.app.sweep import job_count
from fido.loggers.estimate import Estimate
from fido.loggers.terminal import Terminal
from fido.records import Key
from fido.report.about import RunAbout


class Clock:
    """One that moves when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def said(images, total, seconds, batch=1, every=1):
    """What is said while the steps of a fit take so long each."""
    clock, lines = Clock(), []
    estimate = Estimate(images, clock)
    for done in range(every, total + 1, every):
        clock.now += 50 if done == every else every * seconds  # the first step is slow
        lines.append(estimate.after_step(done, total, batch))
    lines.append(estimate.after_image(total * seconds))
    return [line for line in lines if line is not None]


def test_the_time_of_all_images_is_told_from_the_first_steps():
    assert said(3, 100, 1.0) == [
        "about 5 min 0 s for 3 images (1 s a step, 100 steps, 1 min 40 s an image)"
    ]
    assert said(1, 300, 0.5)[0].startswith("about 2 min 30 s for 1 image (0.5 s a step")
    assert said(8, 100, 1.0, batch=4)[0].startswith("about 3 min 20 s for 8 images")
    assert said(200, 100, 1.0, every=10)[0].startswith("about 5 h 33 min for 200 images")
    assert said(100, 1, 2.0) == ["about 3 min 20 s for 100 images (2 s an image)"]
    assert said(2, 100, 0.01) == []
    assert said(0, 100, 10.0) == []


@pytest.mark.parametrize(
    ("line", "jobs"),
    [
        (["seed=0,1", "infiller=ca,blur,mean", "target=cup"], 6),
        (["seed=range(0,4)"], 4),
        (["metrics=[deletion,insertion]"], 1),
        (["objective.sparsity=interval(0,1)"], None),
    ],
)
def test_jobs_are_counted_as_hydra_makes_them(line, jobs):
    assert job_count(line) == jobs


@pytest.mark.parametrize("word", ["photo.jpg", "my photos/a.PNG", "-rf.jpg", "#1.jpg", "tests"])
def test_a_photo_without_a_key_gets_one(word):
    with pytest.raises(ValueError, match=r"did you mean data=folder data\.path="):
        check_names(["explainer.steps=3", word])
    check_names(["-m", f"data.path={word}"])


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"p_original": "0.9", "p_kept": "0.8", "p_removed": "0.1", "area": "0.25"}, "25.0%"),
        ({"p_original": "0.9", "p_kept": None, "p_removed": None, "area": None}, "0.900"),
        ({"p_original": "0.1", "p_counterfactual": "0.8", "flipped": "1", "l1": "0.2"}, "yes"),
        ({"p_original": "0.1", "p_counterfactual": "0.3", "flipped": "0", "l1": "0.2"}, "no"),
    ],
)
def test_results_of_earlier_starts_are_shown_as_far_as_they_are_scored(row, shown, capsys):
    Terminal().close("run", earlier={Key("a", 1): {"target_name": "cup", **row}}, explained=1)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " a " in line]
    cells = [cell.strip() for cell in line.strip("│ ").split("│")]
    assert cells[:2] == ["a", "cup"]
    assert shown in cells


LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft " * 2


def test_names_are_shown_whole_and_a_map_without_a_region_has_no_columns_of_one(capsys):
    row = {"p_original": "0.9", "p_kept": "0.8", "p_removed": "0.1", "area": "0.25"}
    earlier = {Key("photo_" * 20, 1): {"target_name": LONG, **row}}
    Terminal().close("run", earlier=earlier, explained=1)
    whole = capsys.readouterr().out
    lines = [line for line in whole.splitlines() if line.startswith("\u2502")]
    columns = [line.strip("\u2502").split("\u2502") for line in lines]
    image, name = ("".join(cells[i].strip() for cells in columns) for i in (0, 1))
    assert (image, name) == ("photo_" * 20, LONG.replace(" ", ""))
    assert all(word in whole for word in ("region kept", "region removed", "area"))
    terminal = Terminal()
    terminal.about = RunAbout("smoothgrad", regions=False)
    terminal.close("run", earlier=earlier, explained=1)
    without = capsys.readouterr().out
    assert not any(word in without for word in ("region kept", "region removed", "area", "25.0%"))
    assert "no region: the strongest pixels of smoothgrad are scattered" in without


def test_what_there_is_to_doubt_is_said_below_the_table(tmp_path):
    """With an argument of the user's own function, as the tutorial says it."""
    write_photo(tmp_path / "p.png")
    line = ["data=folder", "data.path=p.png", "logger=none", "report=false", "figures=false"]
    few = explain(tmp_path, "explainer.steps=2", *line, "hydra.run.dir=few")
    assert "\np: not converged: 2 steps are too few, 100% of the cells undecided" in few.stdout
    assert "infilled by ca whatever the method, in the picture by mean\n" in few.stdout
    flat = explain(tmp_path, "explainer.steps=2", *line, "classifier.network.gain=0.0001", "-m")
    assert "p: p(class) is the same with only the region as without it" in flat.stdout, flat.stderr
    assert "job 1 of 1" in flat.stdout
    assert not [*tmp_path.glob("outputs/sweeps/*+*")]


def test_a_run_without_an_explanation_has_failed():
    with pytest.raises(ValueError, match="nothing was explained: 2 failed, 1 excluded"):
        check_explained({"images": {"failed": 2, "excluded": 1}, "missing": 0})
    check_explained({"images": {"failed": 2}, "missing": 3})  # another shard goes on
    check_explained({"images": {"failed": 2, "explained": 1}, "missing": 0})


def test_nothing_explained_and_misspelt_metrics_end_in_words(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no image")
    line = ["data=folder", "data.path=photos", "logger=none"]
    run = explain(tmp_path, *line, "data.on_error=skip", "hydra.run.dir=run")
    assert run.returncode == 1
    assert run.stdout.startswith(f"folder: {tmp_path / 'run'}\n0 images done, 1 to do")
    assert "error: nothing was explained: 1 unreadable; scores.csv has reasons" in run.stderr
    wrong = explain(tmp_path, *line, "metrics=[deletoin]")
    assert wrong.returncode == 1
    assert "did you mean metrics=deletion?" in wrong.stderr


@pytest.mark.parametrize(("pause", "lines"), [(60.0, 1), (0.0, 5 * 40)])
def test_a_log_of_many_quick_fits_is_short(pause, lines):
    terminal = Terminal(interactive=False, pause=pause)
    terminal.console.file = io.StringIO()
    for index in range(40):
        for step in range(1, 51):
            terminal([f"image {index}"], step, 50, {})
    assert terminal.console.file.getvalue().count("step ") == lines


def test_on_a_narrow_terminal_the_bar_and_the_time_stay():
    terminal = Terminal(interactive=True)
    terminal.console.file, terminal.console.width = io.StringIO(), 80
    terminal.begin(0, 2)
    curves = ("loss", "score", "area", "score_removed", "sparsity")
    terminal(["coffee"], 30, 60, {name: torch.tensor([-0.1234]) for name in curves})
    terminal.console.print(terminal._bar.get_renderable())
    line = terminal.console.file.getvalue().splitlines()[-1]
    assert "0.5 of 2 images" in line
    assert ":" in line.partition("images")[2]
    assert "loss -0.123" in line
    assert len(line) <= 80
