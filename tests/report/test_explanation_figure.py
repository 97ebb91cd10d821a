"""Figures are made of the store alone."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image
from planted import box_region, planted_sample

from fido.data.geometry import Geometry
from fido.records import Explanation, Key, PhotoRecord, RegionEdit
from fido.report.about import RunAbout
from fido.report.explanation_figure import FigureObserver, draw_figures, explanation_figure
from fido.report.lines import wrapped
from fido.report.map_scale import map_scale
from fido.report.remarks import doubts, remarks, undecided_share
from fido.runs.store import ResultsStore


@pytest.fixture
def store(tmp_path):
    store = ResultsStore(tmp_path)
    sample = planted_sample(image_id="a $1$ cup/<b>")
    edit = RegionEdit(sample.image, torch.zeros_like(sample.image), torch.eye(3, 2).flip(1))
    for target in (0, 1):
        explanation = Explanation(sample.id, target, box_region().float())
        row = {"id": sample.id, "status": "explained", "label": 1, "target": target, "seed": 0}
        store.save(dataclasses.replace(sample, target=target), explanation, row, edit)
    store.save_class_names(["dark $x_", "bright"])
    return store


def test_every_result_has_its_own_figure_with_the_photo_and_both_edits(store):
    paths = draw_figures(ResultsStore(store.folder))
    assert paths == [store.figure_path(key) for key in store]
    assert len(set(paths)) == 2
    pixels = np.asarray(Image.open(paths[0]).convert("RGB")).astype(int)
    assert pixels.shape[1] > 1000
    # The kept image is the photo, the removed one is black.
    assert (pixels == 0).all(2).mean() > 0.02
    assert (pixels == 230).all(2).mean() > 0.005


def test_results_without_edits_and_names_are_drawn_too(tmp_path):
    store = ResultsStore(tmp_path)
    row = {"id": "a", "status": "explained", "label": None, "target": 7, "seed": 0}
    store.save(planted_sample(image_id="a"), Explanation("a", 7, torch.rand(1, 40, 48)), row)
    (path,) = draw_figures(store)
    assert Image.open(path).size[0] > 600


def test_an_observer_draws_what_an_interrupted_run_has_not(store):
    first, second = draw_figures(store)
    before = first.read_bytes()
    second.unlink()
    FigureObserver(store).begin(2, 0)
    assert second.is_file()
    assert first.read_bytes() == before
    first.unlink()
    draw_figures(store, [Key("a $1$ cup/<b>", 0)])
    assert first.read_bytes() == before


def texts(figure):
    figure.canvas.draw()
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [axes.get_title() for axes in figure.axes]
    return "\n".join([*found, figure.get_suptitle(), figure.get_supxlabel()])


def test_names_are_drawn_whole_and_beside_each_bar_stands_its_probability():
    long = "lesser spotted-grebe_of_the_northern,lakes " * 4 + "END"
    sample = planted_sample()
    edit = RegionEdit(sample.image, sample.image, torch.tensor([[0.25, 0.75]] * 3))
    figure = explanation_figure(
        sample, Explanation("planted", 1, box_region().float()), edit, ["dark", long]
    )
    drawn = texts(figure)
    letters = re.sub(r"\s", "", drawn)
    assert letters.count(re.sub(r"\s", "", long)) == 4  # three blocks of bars and the title
    assert "…" not in drawn
    assert "..." not in drawn
    assert drawn.count("0.750") == drawn.count("0.250") == 3
    assert "region: 10.0% of the photo" in drawn


def outside(figure):
    """Texts, other than numbers at ticks, that reach beyond the picture."""
    FigureCanvasAgg(figure).draw()
    whole, renderer = figure.bbox, figure.canvas.get_renderer()
    drawn = [text for text in figure.findobj(Text) if re.search(r"[^\d.]", text.get_text())]
    boxes = [(text.get_window_extent(renderer), text.get_text()) for text in drawn]
    return [t for b, t in boxes if b.x0 < -1 or b.x1 > whole.x1 + 1 or b.y1 > whole.y1 + 1]


@pytest.mark.parametrize(
    "name", ["W" * 90, "two words " * 12, "\u5199\u771f" * 40, "mm_" * 30, "a"]
)
@pytest.mark.parametrize("regions", [True, False])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_of_wide_letters_stay_within_the_picture(name, regions):
    sample = planted_sample(image_id=name)
    edit = RegionEdit(sample.image, sample.image, torch.tensor([[0.25, 0.75]] * 3))
    map_ = Explanation(name, 1, box_region().float())
    figure = explanation_figure(sample, map_, edit, [name, name], RunAbout(name, regions=regions))
    assert outside(figure) == []
    change = dataclasses.replace(map_, counterfactual=torch.zeros(3, 40, 48, dtype=torch.uint8))
    answers = {"p_source": torch.rand(3), "p_target": torch.rand(3)}
    counterfactual = dataclasses.replace(change, history=answers)
    figure = explanation_figure(sample, counterfactual, edit, [name, name])
    assert outside(figure) == []
    assert "\u2026" not in texts(figure)


@pytest.mark.parametrize(
    ("resize", "said"),
    [
        ("keep_aspect", "88% of the photo cropped"),
        ("squash_crop", "75% of the photo cropped"),
        ("squash", "nothing cropped"),
        ("letterbox", "nothing cropped"),
    ],
)
def test_the_line_below_says_how_much_was_cropped(resize, said):
    geometry = Geometry((40, 48), resize, crop_fraction=0.5)
    record = PhotoRecord("wide.png", "", 96, 40, geometry.rectangle(96, 40))
    sample = dataclasses.replace(planted_sample(), photo=record)
    map_ = Explanation("planted", 1, box_region().float())
    change = dataclasses.replace(map_, counterfactual=torch.zeros(3, 40, 48, dtype=torch.uint8))
    for explanation in (map_, change):
        figure = explanation_figure(sample, explanation, None, ["dark", "bright"])
        assert f"{said}, 48 x 40 pixels" in figure.get_supxlabel()


def test_there_is_a_panel_of_curves_only_where_there_are_curves():
    sample, region = planted_sample(), box_region().float()
    without = explanation_figure(sample, Explanation("a", 1, region), None, [])
    history = {"loss": torch.rand(5), "area": torch.rand(5)}
    with_curves = explanation_figure(sample, Explanation("a", 1, region, history=history), None, [])
    titles = [[axes.get_title() for axes in f.axes] for f in (without, with_curves)]
    assert "optimisation" not in titles[0]
    assert "optimisation" in titles[1]


def test_methods_without_a_region_show_none():
    sample = planted_sample()
    edit = RegionEdit(sample.image, sample.image, torch.rand(3, 2))
    about = RunAbout(method="smoothgrad", regions=False, resize="squash")
    map_ = torch.randn(1, 40, 48)
    figure = explanation_figure(sample, Explanation("a", 1, map_), edit, [], about)
    assert "region" not in texts(figure)
    assert "method smoothgrad" in texts(figure)
    assert "resized by squash" in texts(figure)
    assert len([axes for axes in figure.axes if axes.get_images()]) == 2


def test_the_scale_of_probabilities_is_fixed_and_that_of_others_a_percentile():
    low = Explanation("a", 1, torch.full((1, 4, 5), 0.4))
    assert (map_scale(low).kind, map_scale(low).low, map_scale(low).high) == ("probability", 0, 1)
    values = torch.linspace(-1, 3, 10001).view(1, 73, 137)
    signed = map_scale(Explanation("a", 1, values, 1.5))
    assert signed.kind == "signed"
    # |values| are uniform on [0, 1] twice as densely as on [1, 3]: 99 % lie below 3 - 0.04.
    assert signed.high == -signed.low == pytest.approx(2.96, abs=1e-3)
    positive = map_scale(Explanation("a", 1, values + 1, 1.0))
    assert positive.kind == "positive"
    assert (positive.low, positive.high) == pytest.approx((0.04, 3.96), abs=1e-3)
    spike = torch.zeros(1, 40, 50)
    spike[0, 3, 3] = 7
    assert map_scale(Explanation("a", 1, spike, 3.5)).high == 7
    constant = map_scale(Explanation("a", 1, torch.full((1, 4, 4), 9.0), 9.0))
    assert constant.high > constant.low


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("a b", 10, "a b"),
        ("infiller=ca objective.sparsity=1e-3", 20, "infiller=ca\nobjective.sparsity=\n1e-3"),
        ("x" * 7, 3, "xxx\nxxx\nx"),
        ("a_b-c", 2, "a_\nb-\nc"),
        ("network.gain=0.01", 14, "network.gain=\n0.01"),
        ("a=1 network.gain=5", 16, "a=1\nnetwork.gain=5"),
        ("sparsity=1e-3,x", 9, "sparsity=\n1e-3,x"),
        ("", 5, ""),
    ],
)
def test_names_are_wrapped_at_separators_and_nothing_is_lost(name, width, expected):
    lines = wrapped(name, width)
    assert re.sub(r"\s", "", lines) == re.sub(r"\s", "", name)
    assert lines == expected


def test_sentences_say_what_is_conspicuous():
    sample, history = planted_sample(), {"loss": torch.zeros(5)}
    same = RegionEdit(sample.image, sample.image, torch.full((3, 2), 0.5))

    def said(saliency, edit=None, about=None, **more):
        return "; ".join(remarks(Explanation("a", 1, saliency, **more), edit, about))

    half = torch.full((1, 40, 48), 0.5)
    assert "not converged: 5 steps are too few" in said(half, keep_prob=half, history=history)
    decided = box_region().float()
    calm = said(decided, keep_prob=decided, history=history)
    assert calm == "0% of the cells undecided (keep probability 0.3 to 0.7)"
    number = RunAbout(settings={"explainer.objective.sparsity": 1e-3})
    found = RunAbout(settings={"explainer.objective.sparsity": "auto"})
    assert "the region is empty: no pixel exceeds the threshold" in said(0 * half)
    assert said(0 * half, about=number).endswith("try a lower objective.sparsity")
    assert "sparsity" not in said(0 * half, about=found) + said(0 * half)
    assert said(half + 0.5, about=number).endswith("try a higher objective.sparsity")
    assert "the region is the whole photo" in said(half + 0.5)
    assert "the same with only the region as without it" in said(decided, same)
    assert doubts(Explanation("a", 1, decided), same) == remarks(Explanation("a", 1, decided), same)
    assert doubts(Explanation("a", 1, decided, keep_prob=decided, history=history), None) == []
    kept = RegionEdit(sample.image, sample.image, torch.tensor([[0, 0.9], [0, 0.2], [0, 0.9]]))
    assert "removing the region does not change p(class)" in said(decided, kept)
    gone = RegionEdit(sample.image, sample.image, torch.tensor([[0, 0.9], [0, 0.9], [0, 0.1]]))
    assert said(decided, gone) == ""
    assert said(0 * half, about=RunAbout(regions=False)) == ""


def test_cells_are_counted_not_the_slopes_between_them():
    cells = torch.tensor([[0.0, 1.0], [1.0, 0.5]])[None, None]
    keep = torch.nn.functional.interpolate(cells, size=(64, 64), mode="bilinear")[0]
    one = Explanation("a", 1, keep, keep_prob=keep, history={"loss": torch.zeros(2)})
    assert undecided_share(one, 2) == 0.25
    assert undecided_share(one) > 0.25
    assert undecided_share(Explanation("a", 1, keep)) is None


@pytest.mark.parametrize(("form", "head"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_for_print_are_the_same_bytes_every_time(store, form, head):
    first = draw_figures(store, dpi=60, form=form)
    before = [path.read_bytes() for path in first]
    assert all(path.suffix == f".{form}" for path in first)
    assert all(content.startswith(head) for content in before)
    assert [path.read_bytes() for path in draw_figures(store, dpi=60, form=form)] == before


def test_dpi_counts_and_what_no_figure_is_saved_as_is_refused(store):
    sizes = [Image.open(draw_figures(store, dpi=dpi)[0]).size for dpi in (50, 100)]
    assert sizes[1][0] == pytest.approx(2 * sizes[0][0], abs=2)
    with pytest.raises(ValueError, match=r"plots.format must be png, svg, pdf, got 'jpg'"):
        draw_figures(store, form="jpg")
    with pytest.raises(ValueError, match=r"plots.dpi must be above 0"):
        FigureObserver(store, dpi=0)
