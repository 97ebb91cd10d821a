"""Score saved explanations: `python evaluate.py store=outputs/2026-01-01/12-00-00`."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from fido.app.evaluate import (
    check_baseline,
    evaluation_of_photos,
    evaluation_of_stores,
    finish,
)
from fido.app.instantiate import (
    build,
    build_classifier,
    pick_device,
    prepare_command_line,
    user_errors,
)
from fido.report.terminal import ScoreProgress, print_scores
from fido.runs.sweep import named_stores, quote_stores
from fido.runtime.environment import describe_environment
from fido.runtime.files import write_json


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Compose one evaluation from its configuration and execute it."""
    with user_errors():
        # An experiment may say how photos are cut; which ones is for data=NAME to say.
        if (cfg.store is None) == ("_target_" not in (cfg.get("data") or {})):
            raise ValueError("give store=DIR[,DIR...] or data=NAME ..., one of the two")
        device = pick_device(cfg.device)
        folder, progress = Path(cfg.output_dir), ScoreProgress()
        write_json(folder / "env.json", describe_environment(device))
        if cfg.store is None:
            classifier = build_classifier(cfg.classifier, device)
            evaluation = evaluation_of_photos(cfg, classifier, device, folder, progress)
        else:
            given = [cfg.store] if isinstance(cfg.store, str) else OmegaConf.to_object(cfg.store)
            stores, sweeps = named_stores(given)
            evaluation = evaluation_of_stores(cfg, None, device, stores, sweeps, folder, progress)
        check_baseline(cfg, evaluation)
        settings = OmegaConf.to_container(cfg, resolve=True)
        with build(cfg.logger, folder=cfg.output_dir, settings=settings) as logger:
            evaluated = finish(cfg, evaluation, folder)
            logger.summary(evaluated.plain())
            logger.scores(folder / "scores.csv", evaluated.figures)
        print_scores(evaluated)


if __name__ == "__main__":
    sys.argv[1:] = quote_stores(sys.argv[1:])
    prepare_command_line()
    main()
