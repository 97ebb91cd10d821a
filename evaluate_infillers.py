"""Measure infillers on labelled photos: `python evaluate_infillers.py data.root=DIR`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from fido import weights
from fido.app.evaluate import check_baseline, evaluation_of_photos, finish
from fido.app.instantiate import (
    build,
    build_classifier,
    pick_device,
    prepare_command_line,
    user_errors,
)
from fido.report.infillers import write_infillers
from fido.report.terminal import ScoreProgress
from fido.runtime.environment import describe_environment
from fido.runtime.files import write_json


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate_infillers")
def main(cfg: DictConfig) -> None:
    """Score the infillers, then write tables by law and figures."""
    with user_errors():
        device, folder = pick_device(cfg.device), Path(cfg.output_dir)
        for name in [n for n, node in cfg.infillers.items() if node.get("weights") == n]:
            if name not in weights.manifest():
                print(f"{name} is left out: no weights of that name are shipped")
                with open_dict(cfg.infillers):
                    del cfg.infillers[name]
        write_json(folder / "env.json", describe_environment(device))
        classifier = build_classifier(cfg.classifier, device)
        evaluation = evaluation_of_photos(cfg, classifier, device, folder, ScoreProgress())
        check_baseline(cfg, evaluation)
        settings = OmegaConf.to_container(cfg, resolve=True)
        with build(cfg.logger, folder=cfg.output_dir, settings=settings) as logger:
            evaluated = finish(cfg, evaluation, folder)
            options = build(OmegaConf.create({"_target_": "builtins.dict", **cfg.figures}))
            drawn = write_infillers(folder, evaluation, evaluated, classifier, **options)
            logger.summary(evaluated.plain())
            logger.scores(folder / "scores.csv", {**evaluated.figures, **drawn})
        print((folder / "by_law.md").read_text(encoding="utf-8"))
        print(f"tables, figures, scores: {folder}")


if __name__ == "__main__":
    prepare_command_line()
    main()
