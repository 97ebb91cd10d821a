"""Settings of experiments, each with the place in the papers that it is from."""

import re
from functools import cache

import pytest
from configurations import command_config, leaves
from omegaconf import OmegaConf

SQUASHED = [  # Agarwal & Nguyen 2020, section 3.1: images that the classifier gets right
    *[("explain", f"agarwal2020_{e}") for e in
      ("fig5", "fig6_sp", "fig6_lime", "fig6_mp2", "table2", "table3", "table4", "mp2")],
    *[("evaluate", f"agarwal2020_{e}") for e in ("fig4", "fig7", "fig8")],
]  # fmt: skip
DRAWN = [  # "randomly selected" or "randomly sampled" images
    *SQUASHED,
    ("evaluate", "agarwal2020_table1"),
    ("evaluate", "chang2019_fig15"),
    *[("explain", f"chang2019_{e}") for e in ("fig8", "fig10", "table1", "table2")],
]


@cache
def composed(command, *overrides):
    return command_config(command, "output_dir=out", *overrides, return_hydra_config=True)


def setting(command, experiment, name, *overrides):
    return OmegaConf.select(composed(command, f"experiment={experiment}", *overrides), name)


@pytest.mark.parametrize(("command", "experiment"), SQUASHED)
def test_only_correct_images_count_in_agarwal_2020(command, experiment):
    assert setting(command, experiment, "data.only_correct") is True
    assert setting(command, experiment, "data.resize") == "squash_crop"


@pytest.mark.parametrize(("command", "experiment"), DRAWN)
def test_random_images_are_drawn(command, experiment):
    assert setting(command, experiment, "data.random_order") == 0


def test_fig_7_slides_a_patch_of_53_pixels_by_3():
    """Agarwal & Nguyen 2020, Fig. 7 and section 3.3."""
    node = setting("evaluate", "agarwal2020_fig7", "metrics.patch_profile")
    assert (node.patch, node.stride) == (53, 3)


@pytest.mark.parametrize("preset", ["sp", "sp_g"])
def test_the_map_of_sp_is_stretched_over_the_image(preset):
    """Agarwal & Nguyen 2020, section 3.3 ("bi-linearly upsampled A' to the image size"); code."""
    explainer = composed("explain", f"preset={preset}").explainer
    assert (explainer.patch, explainer.stride, explainer.alignment) == (29, 3, "stretch")
    assert composed("explain", "explainer=sliding_patch").explainer.alignment == "centres"


@pytest.mark.parametrize(
    ("experiment", "normalise", "data_range"),
    [("fig6_sp", "none", 2.0), ("fig6_lime", "max_abs", 2.0), ("fig6_mp2", "none", 1.0)],
)
def test_maps_are_compared_as_the_code_of_sam_does(experiment, normalise, data_range):
    """Bansal et al. 2020, whose code divides LIME's maps by max |A| and no others."""
    node = setting("explain", f"agarwal2020_{experiment}", "metrics.sensitivity")
    assert (node.normalise, node.data_range) == (normalise, data_range)


def test_the_readings_of_mp2():
    """Agarwal & Nguyen 2020, section 3.5: gradient norms of mask pixels; A is the mask."""
    rows = {
        name: composed("explain", f"preset={name}").explainer
        for name in ("mp2", "mp2_text", "mp2_g", "mp2_g_text")
    }
    read = {name: (node.gradient, node.map) for name, node in rows.items()}
    assert read == {
        "mp2": ("image_cell", "order"),
        "mp2_text": ("mask", "binary"),
        "mp2_g": ("image_cell", "order"),
        "mp2_g_text": ("image_cell", "binary"),  # cells have no gradient under an inpainter
    }
    for table in ("table2", "table3", "table4"):
        config = composed("explain", f"experiment=agarwal2020_{table}")
        assert {*rows} <= {*config.hydra.sweeper.params.preset.split(",")}


@pytest.mark.parametrize("infiller", ["blur", "random"])
def test_the_two_versions_of_bbmp(infiller):
    """Chang et al. 2019, Fig. 10: 5e-3 as reviewed, 1e-3 as published."""
    for preset, sparsity in ((f"bbmp_{infiller}", 5e-3), (f"bbmp_{infiller}_published", 1e-3)):
        config = composed("explain", "experiment=chang2019_fig10", f"preset={preset}")
        assert config.explainer.objective.sparsity == sparsity
        assert config.explainer.mask.align_corners is True
        assert config.objective.sparsity == 1e-3


def test_edits_of_fig_4_show_every_method_s_own_infiller():
    """Chang et al. 2019, Figs. 4 and 16: realtime's heuristic infill is "Random", section 4.1."""
    for preset, network in (("realtime", "Random"), ("fido_ca", "ContextualAttention")):
        chosen = ("chang2019_fig4", "infiller._target_", f"preset={preset}")
        assert setting("explain", *chosen).endswith(f"{network}Infiller")
        chosen = ("chang2019_fig4", "region.infiller._target_", f"preset={preset}")
        assert setting("explain", *chosen).endswith(f"{network}Infiller")


TABLES = [
    name for _, name in leaves("explain/experiment") if re.match("(agarwal|chang).*table", name)
]


@pytest.mark.parametrize("experiment", [*TABLES, "chang2019_fig8", "chang2019_fig10"])
def test_tables_that_share_a_folder_compare_rows_on_the_same_photos(experiment):
    assert setting("explain", experiment, "evaluation.common_images_only") is True
