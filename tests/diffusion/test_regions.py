import pytest
import torch
from planted import BOX, box_region, planted_sample

from fido.diffusion.regions.base import NoRegionError, strongest
from fido.diffusion.regions.boxes import BoxRegion
from fido.diffusion.regions.cells import CellRegion
from fido.diffusion.regions.change import ChangedRegion
from fido.diffusion.regions.everywhere import Everywhere
from fido.diffusion.regions.stored import StoredRegion
from fido.records import Explanation, Sample
from fido.runs.store import ResultsStore


def store_with(folder, *explanations, sample=None):
    store = ResultsStore(folder)
    for explanation in explanations:
        one = sample or planted_sample()
        row = {"id": one.id, "status": "explained", "label": 1, "target": explanation.target}
        store.save(one, explanation, row)
    return str(folder)


def box_explanation(target=1, seed=0, value=0.9):
    return Explanation("planted", target, value * box_region().float(), 0.5, seed=seed)


# --- the three arms


def test_the_arms_are_the_region_the_rest_and_as_much_elsewhere():
    sample = planted_sample()
    inside, outside, moved = (
        BoxRegion(arm).of(sample, seed=0) for arm in ("inside", "outside", "random")
    )
    assert torch.equal(inside, box_region())
    assert torch.equal(outside, ~inside)
    assert moved.sum() == inside.sum()
    assert not torch.equal(moved, inside)


def test_a_random_region_has_the_same_shape_and_belongs_to_image_and_seed():
    sample = planted_sample()
    moved = BoxRegion("random").of(sample, 0)
    rolled = [
        torch.equal(box_region().roll((dy, dx), (-2, -1)), moved)
        for dy in range(40)
        for dx in range(48)
    ]
    assert sum(rolled) == 1
    assert torch.equal(moved, BoxRegion("random").of(sample, 0))
    assert not torch.equal(moved, BoxRegion("random").of(sample, 1))
    other = planted_sample(image_id="other")
    assert not torch.equal(moved, BoxRegion("random").of(other, 0))


@pytest.mark.parametrize("arm", ["inside", "outside", "random"])
@pytest.mark.parametrize(("box", "what"), [((0, 0, 48, 40), "the whole image")])
def test_everything_is_no_region_in_any_arm(arm, box, what):
    with pytest.raises(NoRegionError, match=what):
        BoxRegion(arm).of(planted_sample(box=box))


@pytest.mark.parametrize("arm", ["inside", "outside", "random"])
def test_nothing_is_no_region_in_any_arm(arm):
    with pytest.raises(NoRegionError, match="empty"):
        CellRegion(4, [], arm).of(planted_sample())


def test_an_unknown_arm_is_refused():
    with pytest.raises(ValueError, match="inside, outside, random"):
        BoxRegion("around")


# --- kinds


def test_everywhere_is_everywhere():
    assert Everywhere().of(planted_sample()).all()


def test_an_image_without_boxes_has_no_box_region():
    sample = planted_sample()
    bare = Sample(sample.id, sample.image, target=1)
    with pytest.raises(NoRegionError, match="no boxes"):
        BoxRegion().of(bare)


def test_cells_cover_the_image_once():
    whole = torch.zeros(1, 40, 48, dtype=torch.int)
    for row in range(3):
        for column in range(7):
            whole += CellRegion((3, 7), [[row, column]]).of(planted_sample()).int()
    assert (whole == 1).all()
    with pytest.raises(ValueError, match="not in a grid"):
        CellRegion(3, [[3, 0]])


def test_the_strongest_pixels_cover_the_asked_area():
    values = torch.rand(1, 10, 10)
    values[0, 0, 0] = torch.nan
    region = strongest(values, 0.2)
    assert region.sum() == 20
    assert values[region].min() >= values[~region].nan_to_num(-1).max()


def test_a_stored_region_is_the_explanations(tmp_path):
    folder = store_with(tmp_path / "run", box_explanation())
    assert torch.equal(StoredRegion(ResultsStore, folder).of(planted_sample()), box_region())
    small = StoredRegion(ResultsStore, folder, area=0.05).of(planted_sample())
    assert int(small.sum()) == round(0.05 * 40 * 48)
    assert not (small & ~box_region()).any()


def test_an_image_that_the_run_does_not_have_has_no_region(tmp_path):
    folder = store_with(tmp_path / "run", box_explanation())
    with pytest.raises(NoRegionError, match="no result of this image"):
        StoredRegion(ResultsStore, folder).of(planted_sample(image_id="other"))


def test_of_several_results_one_must_be_named(tmp_path):
    folder = store_with(
        tmp_path / "run", box_explanation(), box_explanation(0), box_explanation(1, 5)
    )
    with pytest.raises(ValueError, match="3 results of 'planted'"):
        StoredRegion(ResultsStore, folder).of(planted_sample())
    assert StoredRegion(ResultsStore, folder, target=0).of(planted_sample()).any()
    assert StoredRegion(ResultsStore, folder, target=1, seed=5).of(planted_sample()).any()


def test_a_region_of_other_pixels_is_refused(tmp_path):
    folder = store_with(tmp_path / "run", box_explanation())
    other = planted_sample(box=(0, 0, 8, 8))
    with pytest.raises(ValueError, match="other pixels"):
        StoredRegion(ResultsStore, folder).of(other)


def test_a_folder_without_results_is_named_and_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no explanations"):
        StoredRegion(ResultsStore, str(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_what_an_earlier_counterfactual_changed(tmp_path):
    left, top, right, bottom = BOX
    photo = (planted_sample().image * 255).round().to(torch.uint8)
    changed = photo.clone()
    changed[1, top:bottom, left:right] -= 40
    changed[:, 0, 0] += 10  # too little to count
    earlier = Explanation("planted", 0, box_region().float(), counterfactual=changed)
    folder = store_with(tmp_path / "run", earlier)
    assert torch.equal(ChangedRegion(ResultsStore, folder).of(planted_sample()), box_region())
    assert ChangedRegion(ResultsStore, folder, at_least=5).of(planted_sample())[0, 0, 0]
    maps = store_with(tmp_path / "maps", box_explanation())
    with pytest.raises(NoRegionError, match="no counterfactual"):
        ChangedRegion(ResultsStore, maps).of(planted_sample())
