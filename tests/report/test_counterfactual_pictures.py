"""Pictures of counterfactual images, made of the store alone."""

import dataclasses

import numpy as np
import pytest
import torch
import wandb
from PIL import Image
from planted import planted_sample
from wandb_offline import read_run

from fido.diffusion.lift import resized
from fido.loggers.wandb import WandbRunLogger
from fido.records import Explanation, RegionEdit
from fido.report import contact_sheet as module
from fido.report.contact_sheet import draw_contact_sheet
from fido.report.counterfactual_figure import counterfactual_figure, signed_change
from fido.report.counterfactual_film import frames
from fido.report.explanation_figure import draw_figures
from fido.runs.observer import Result
from fido.runs.store import ResultsStore

NAMES = ["gray cat", "blue $dog_"]


def made(image_id="a", target=1, flipped=1.0, estimates=3):
    """A photo whose lower half becomes blue, by way of images at half of its size."""
    sample = planted_sample(image_id=image_id)
    counterfactual = (sample.image * 255).round().to(torch.uint8)
    counterfactual[:, 20:] = torch.tensor([10, 10, 250], dtype=torch.uint8)[:, None, None]
    small = resized(torch.stack([sample.image, counterfactual / 255]), (20, 24)) * 255
    between = [small[0] + share * (small[1] - small[0]) for share in torch.linspace(0, 1, 3)]
    change = (counterfactual / 255 - sample.image).abs().mean(0, keepdim=True)
    explanation = Explanation(
        image_id,
        target,
        change,
        threshold=0.5,
        counterfactual=counterfactual,
        estimates=torch.stack(between).clamp(0, 255).round().to(torch.uint8) if estimates else None,
        history={
            "p_source": torch.tensor([0.9, 0.5, 0.2]),
            "p_target": torch.tensor([0.1, 0.4, 0.8]),
            "flipped": torch.tensor([0.0, 0.0, flipped]),
        },
    )
    return sample, explanation


def put(store, target=1, **options):
    sample, explanation = made(target=target, **options)
    edit = RegionEdit(sample.image, sample.image, torch.tensor([[0.9, 0.1]] * 3))
    row = {"id": sample.id, "status": "explained", "label": 0, "target": target, "seed": 0}
    row |= {"target_name": NAMES[target], "p_counterfactual": 0.8, "flipped": 1, "l1": 0.25}
    store.save(dataclasses.replace(sample, target=target), explanation, row, edit)
    store.save_class_names(NAMES)
    return Result(sample, store.load(explanation.key), edit, row, 1.0)


def texts(figure):
    found = [axes.get_title() for axes in figure.axes]
    return "\n".join([*found, figure.get_suptitle()])


def test_the_figure_says_what_was_reached():
    sample, explanation = made()
    edit = RegionEdit(sample.image, sample.image, torch.tensor([[0.9, 0.1]] * 3))
    figure = counterfactual_figure(sample, explanation, edit, NAMES)
    said = texts(figure)
    assert "gray cat 0.90, blue $dog_ 0.10" in said  # before
    assert "gray cat 0.20, blue $dog_ 0.80" in said  # after
    assert "did not flip" not in said
    curves = [line.get_ydata().tolist() for axes in figure.axes for line in axes.lines]
    assert explanation.history["p_target"].tolist() in curves
    strip = [axes for axes in figure.axes if axes.get_title().startswith("estimate")]
    assert len(strip) == 3


def test_what_did_not_flip_is_said_and_nothing_on_the_way_leaves_no_strip():
    sample, explanation = made(flipped=0.0, estimates=0)
    figure = counterfactual_figure(sample, explanation, None, NAMES)
    assert "did not flip" in texts(figure)
    assert not [axes for axes in figure.axes if axes.get_title().startswith("estimate")]


def test_the_change_has_a_sign_and_a_scale_around_zero():
    sample, explanation = made()
    change = signed_change(sample.image, explanation.counterfactual / 255)
    assert change.shape == (40, 48)
    differences = torch.tensor([10, 10, 250]) / 255 - sample.image[:, 25, 3]
    expected = max(differences.tolist(), key=abs)
    np.testing.assert_allclose(change[25, 3], expected, atol=1e-6)
    # Orange to green of the same brightness is a change.
    orange, green = torch.tensor([0.7, 0.5, 0.3]), torch.tensor([0.5, 0.7, 0.3])
    assert abs(signed_change(*(c.view(3, 1, 1) for c in (orange, green)))).item() > 0.19
    assert abs(change[:20]).max() < 1 / 255
    figure = counterfactual_figure(sample, explanation, None, NAMES)
    (drawn,) = [i for axes in figure.axes for i in axes.images if i.get_cmap().name == "RdBu_r"]
    low, high = drawn.get_clim()
    assert low == -high < 0


def test_the_film_goes_from_the_photo_to_the_counterfactual(tmp_path):
    store = ResultsStore(tmp_path)
    put(store)
    (path,) = draw_figures(ResultsStore(tmp_path))
    sample, explanation = made()
    film = frames(sample, explanation)
    assert film.shape == (5, 3, 40, 48)
    assert torch.equal(film[-1], explanation.counterfactual)
    # No change at the smaller size is no change at the photo's.
    assert (film[1].int() - film[0].int()).abs().max() <= 2
    with Image.open(path.with_suffix(".gif")) as gif:
        # The last estimate is the counterfactual already: Pillow shows it once, and longer.
        assert (gif.n_frames, gif.size) == (4, (5 * 48, 5 * 40))
        gif.seek(3)
        shown = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(shown[150, 20] - [10, 10, 250]).max() < 12


@pytest.mark.parametrize(("flipped", "words"), [(1, ""), (0, ", not flipped")])
def test_a_sheet_says_what_did_not_flip(tmp_path, flipped, words):
    store, (sample, explanation) = ResultsStore(tmp_path), made()
    row = {"id": sample.id, "status": "explained", "target": 1, "seed": 0}
    store.save(sample, explanation, row | {"p_counterfactual": 0.8, "flipped": flipped, "l1": 0.25})
    store.write_scores()
    (stored,) = store.scores().values()
    assert module._caption(explanation, stored, True) == f"p 0.80{words}, change 0.250"


def test_a_sheet_has_targets_as_rows_and_methods_as_columns(tmp_path, monkeypatch):
    for job, (target, method) in enumerate(
        (target, method) for target in (0, 1) for method in ("dvce", "ace")
    ):
        name = ["gray cat", "blue dog"][target]
        given = [f"target={name}", f"explainer={method}"]
        put(ResultsStore(tmp_path / str(job), {}, {"overrides": given}), target=target)
    drawn = []
    whole = module.contact_sheet

    def noted(cells, rows, columns):
        drawn.append((sorted(cells), columns))
        return whole(cells, rows, columns)

    monkeypatch.setattr(module, "contact_sheet", noted)
    sheet = draw_contact_sheet(tmp_path)
    ((cells, columns),) = drawn
    assert columns == ["explainer=dvce", "explainer=ace"]
    rows = sorted({row for row, _ in cells})
    assert len(rows) == 2
    assert len(cells) == 4
    width, height = Image.open(sheet).size
    assert 600 < width < 1000  # photo and two methods
    assert height > 400


def test_figure_image_film_and_curves_are_in_wandb(tmp_path):
    store = ResultsStore(tmp_path)
    with WandbRunLogger(str(tmp_path), {}, mode="offline") as logger:
        result = put(store)
        draw_figures(store)
        logger.result(result)
    wandb.teardown()  # its process has written everything when it has ended
    run = read_run(tmp_path)
    logged = {name: row[name] for row in run["history"] for name in row}
    for name in ("explanation", "counterfactual", "film"):
        assert (run["folder"] / "files" / logged[name]["path"]).is_file(), name
    assert logged["film"]["path"].endswith(".gif")
    with Image.open(run["folder"] / "files" / logged["counterfactual"]["path"]) as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(pixels, result.explanation.counterfactual)
    curve = [row["p_target/a"] for row in run["history"] if "p_target/a" in row]
    assert curve == pytest.approx([0.1, 0.4, 0.8])
