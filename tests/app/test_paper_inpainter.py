"""One setting for the papers' inpainter, and the rows of every experiment that read it."""

import re
from functools import cache

import pytest
from configurations import CONF, command_config, leaves
from omegaconf import OmegaConf

ROW = "infiller@generative_infiller"
LEFT_TO_THE_RUN = {"paper", "fast"}  # settings of FIDO with any infiller
PRESETS = [name for _, name in leaves("explain/preset") if name not in LEFT_TO_THE_RUN]
GENERATIVE = {"fido_ca", "sp_g", "lime_g", "mp_g", "mp2_g", "mp2_g_text"}
HEURISTIC = {  # Chang et al. 2019, section 4.1; Agarwal & Nguyen 2020, sections 3.3 to 3.5
    "fido_mean": "mean", "fido_blur": "blur", "fido_random": "random", "fido_local": "local",
    "fido_vae": "vae", "bbmp_blur": "blur", "bbmp_random": "random",
    "bbmp_blur_published": "blur", "bbmp_random_published": "random",
    "sp": "mean", "lime": "mean", "mp": "blur_mp", "mp2": "blur_mp", "mp2_text": "blur_mp",
    "realtime": "random",
}  # fmt: skip
INPAINTERS = {"ca": "ContextualAttention", "deepfill": "DeepFill", "lama": "Lama"}


@cache
def composed(command, *overrides):
    config = command_config(command, "output_dir=out", *overrides, return_hydra_config=True)
    params = {key: str(value) for key, value in (config.hydra.sweeper.params or {}).items()}
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]), params


@cache
def leaf(name):
    return composed("explain", f"infiller={name}")[0].infiller


def with_inpainter(config, name):
    """The configuration in plain values, with another inpainter in the one setting's place."""
    config = config.copy()
    config.generative_infiller = leaf(name)
    return OmegaConf.to_container(config, resolve=True)


def network_of(node):
    return re.search(r"(\w+)Infiller$", node["_target_"])[1]


@pytest.mark.parametrize("name", INPAINTERS)
def test_the_setting_is_a_group_of_the_command_line(name):
    options = (f"{ROW}={name}", "generative_infiller.weights=PATH")
    for preset, network in (("sp_g", INPAINTERS[name]), ("sp", "Mean")):
        infiller = composed("explain", f"preset={preset}", *options)[0].infiller
        assert network_of(infiller) == network
        assert ("weights" in infiller) == (preset == "sp_g")
    rows = composed("evaluate", "experiment=agarwal2020_fig7", *options)[0].infillers
    assert {row: network_of(node) for row, node in rows.items()} == {
        "sp": "Mean",
        "sp_g": INPAINTERS[name],
    }
    assert rows.sp_g.weights == "PATH"


@pytest.mark.parametrize("preset", PRESETS)
def test_only_generative_presets_read_it(preset):
    assert (preset in GENERATIVE) != (preset in HEURISTIC)
    for name, network in INPAINTERS.items():
        infiller = with_inpainter(composed("explain", f"preset={preset}")[0], name)["infiller"]
        if preset in GENERATIVE:
            assert infiller == leaf(name)
            assert network_of(infiller) == network
        else:
            own = {"reconstruct": True} if preset == "fido_vae" else {}  # authors' code
            assert infiller == {**leaf(HEURISTIC[preset]), **own}


OF_BOTH_PAPERS = [
    name for _, name in leaves("explain/experiment") if re.match("agarwal|chang|paper", name)
]


@pytest.mark.parametrize("experiment", OF_BOTH_PAPERS)
def test_every_row_of_every_experiment_is_its_preset(experiment):
    text = OmegaConf.load(CONF / f"explain/experiment/{experiment}.yaml")
    assert "infiller" not in text  # so that nothing is put over a preset's choice
    assert not [line for line in text.get("defaults", []) if "infiller" in str(line)]
    config, params = composed("explain", f"experiment={experiment}")
    rows = params.get("preset", "").split(",")
    assert {*rows} - {""} <= {*PRESETS}
    if experiment == "chang2019_fig6":
        assert params["infiller"] == "mean,generative"
    for name, network in INPAINTERS.items():
        metrics = with_inpainter(config, name).get("metrics") or {}
        if "removal_curve" in metrics:  # Chang et al. 2019, section 4.5: pixels infilled by CA
            assert network_of(metrics["removal_curve"]["infiller"]) == network
        for metric in {*metrics} & {"deletion", "insertion"}:
            assert network_of(metrics[metric]["infiller"]) in ("Mean", "Blur")


# Which infillers of the experiments with photos are the papers' inpainter.
INPAINTED = {
    "agarwal2020_fig4": [],
    "agarwal2020_fig7": ["sp_g"],
    "agarwal2020_fig8": ["lime_g"],
    "agarwal2020_table1": ["inpaint"],
    "chang2019_fig15": ["ca"],
    "infillers": ["ca"],
}


@pytest.mark.parametrize("experiment", [name for _, name in leaves("evaluate/experiment")])
def test_every_infiller_of_every_experiment_with_photos(experiment):
    config, _ = composed("evaluate", f"experiment={experiment}")
    for name, network in INPAINTERS.items():
        rows = with_inpainter(config, name)["infillers"]
        assert [row for row in rows if network_of(rows[row]) == network] == INPAINTED[experiment]
        assert len(rows) > len(INPAINTED[experiment])


def test_a_command_line_that_names_an_infiller_has_the_last_word():
    assert network_of(composed("explain", "preset=sp_g", "infiller=vae")[0].infiller) == "Vae"


def test_mp_and_mp2_blur_alike():
    """Agarwal & Nguyen 2020, section 3.5: "As MP, we use the same Gaussian blur radius of 10"."""
    for preset in ("mp", "mp2", "mp2_text"):
        assert composed("explain", f"preset={preset}")[0].infiller == leaf("blur_mp")
    for experiment in ("agarwal2020_fig4", "agarwal2020_table1"):
        rows = composed("evaluate", f"experiment={experiment}")[0].infillers
        assert rows.blur == leaf("blur_mp")
    assert "sigma" not in composed("explain", "preset=mp", "infiller=mean")[0].infiller
    assert leaf("blur").sigma == 10  # Chang et al. 2019, section 4.1: pixels at 224


def test_rows_are_called_by_the_inpainter():
    from fido.app.instantiate import logged_settings

    choices = {"explainer": "sliding_patch", "infiller": "generative", ROW: "lama"}
    config, _ = composed("explain", "preset=sp_g")
    assert logged_settings(config, choices)["axis/method"] == "sliding_patch lama"
