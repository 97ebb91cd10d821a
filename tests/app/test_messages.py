"""What is said to who gives a name that is not there, or no longer."""

import pytest
import yaml
from configurations import CONF, command_config
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fido.app.messages import RENAMED, check_names, explained


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("images_per_fit=4", "images_per_fit is now batch_size: batch_size=4"),
        ("+graded.a.sigma=2", "graded.a.sigma is now infillers.a.sigma"),
        ("infiller@graded.A=blur", "infiller@graded.A is now infiller@infillers.A"),
        ("mask_laws@figures.laws=object", "is now mask_distributions@figures.laws"),
        (
            "mask_distributions@metrics.infill_quality.laws=pixels",
            "is now mask_distributions@metrics.infill_quality.mask_distributions",
        ),
        ("evaluation.check_classifier=false", "is now evaluation.own_classifier"),
        ("metrics.deletion.max_batch=3", "is now metrics.deletion.rows_per_pass"),
        ("mask.draw=pixel", "mask.draw is now mask.unit: mask.unit=pixel"),
        ("explainer.step=7", "explainer.step is now explainer.cell_size"),
        ("evaluation.baseline=Full", "evaluation.baseline is now evaluation.compare_to"),
        ("method=fido_ca", "method is now preset: preset=fido_ca"),
        ("output=x", "output is now output_dir"),
        ("metrics=[sanity]", "the metric sanity is now model_randomization"),
        ("experiment=fido_table1", "experiment=chang2019_table1"),
        ("experiment=generative_sensitivity_lime", "experiment=agarwal2020_fig6_lime"),
        ("experiment=generative_fig7", "experiment=agarwal2020_fig7"),
    ],
)
def test_an_old_name_is_answered_with_the_new_one(word, words):
    with pytest.raises(ValueError, match=r"is now") as raised:
        check_names(["-m", "infiller=ca", word])
    assert words in str(raised.value)


def names(node, prefix=""):
    for key, child in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}"
        yield from names(child, f"{prefix}{key}.")


def test_no_name_of_today_is_called_old():
    for path in CONF.rglob("*.yaml"):
        group = path.parent.name
        prefix = "" if path.parent == CONF or "_global_" in path.read_text() else f"{group}."
        content = yaml.safe_load(path.read_text()) or {}
        check_names([f"{name}=1" for name in names(content, prefix) if "defaults" not in name])
        check_names([f"{group}={path.stem}"])
    assert not set(RENAMED) & {new for new in RENAMED.values() if "." not in new}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["infiler=blur"], "no setting infiler here; did you mean infiller?"),
        (["explainer.stepps=3"], "did you mean explainer.steps?"),
        (["sparsity=1e-3"], "did you mean objective.sparsity?"),
        (["data.path=x"], "no setting data.path with this data, but with data=folder"),
        (["infiller.sigma=3"], "with this infiller, but with infiller=blur"),
        (["explainer.masks=9", "explainer=lime"], "but with explainer=rise"),
        (
            ["infiller=bluur"],
            "infiller=bluur: there is no such option; did you mean infiller=blur?",
        ),
        (["explainer=zzz"], "there is no such option. There are "),
        (["data.path=photo (1).jpg"], "quoted twice: 'data.path=\"photo (1).jpg\"'"),
        (["zzz=3"], "there is no setting zzz here; see --help"),
    ],
)
def test_a_wrong_name_is_answered_with_one_near_it(overrides, words):
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        command_config("explain", *overrides)
    said = explained(raised.value)
    assert words in said
    assert "+" not in said, "Hydra's advice makes settings that nobody reads"
    assert "\n" not in said


def test_errors_of_the_program_are_not_explained_away():
    assert explained(ValueError("a must be 1")) == "a must be 1"
    assert explained(KeyError("x")) is None
    assert explained(RuntimeError("x")) is None
