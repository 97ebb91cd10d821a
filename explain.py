"""Explain photos: `python explain.py infiller=blur data=folder data.path=photo.jpg`."""

import hydra
from omegaconf import DictConfig

from fido.atomic import write_json
from fido.compose import (
    build,
    logged_settings,
    pick_device,
    plain_errors,
    prepare_command_line,
    settings_of,
)
from fido.compose_metrics import evaluation_of_run, finish
from fido.environment import describe_environment
from fido.evaluation.evaluate import ScoreAsItGoes
from fido.evaluation.terminal import print_scores
from fido.named_stores import run_name
from fido.runner import Runner
from fido.store import ResultsStore
from fido.terminal import Terminal


@hydra.main(version_base="1.3", config_path="conf", config_name="explain")
def main(cfg: DictConfig) -> float | None:
    """Compose one run from its configuration and execute it."""
    with plain_errors():
        device = pick_device(cfg.device)
        store = ResultsStore(cfg.output_dir, settings_of(cfg))
        write_json(store.folder / "env.json", describe_environment(device))
        terminal = Terminal()
        classifier = build(cfg.classifier).to(device)
        shared = {
            "classifier": classifier,
            "infiller": build(cfg.infiller).to(device),
            "progress": terminal,
            "folder": cfg.output_dir,
            "settings": logged_settings(cfg),
            "size": classifier.size,
            "crop_fraction": classifier.crop_fraction,
            "interpolation": classifier.interpolation,
        }
        source = build(cfg.data, **shared)
        explainer = build(cfg.explainer, **shared)
        scoring = evaluation_of_run(cfg, classifier, device, store) if cfg.get("metrics") else None
        as_it_goes = [] if scoring is None else [ScoreAsItGoes(scoring)]
        with build(cfg.logger, **shared) as logger, terminal:
            runner = Runner(
                classifier,
                shared["infiller"],
                explainer,
                store,
                cfg.target,
                cfg.images_per_fit,
                cfg.seed,
                observers=(terminal, logger, *as_it_goes),
            )
            summary = runner.run(source)
            write_json(store.folder / "summary.json", summary)
            logger.summary(summary)
            logger.measures({f"mean/{name}": mean for name, mean in summary["mean"].items()})
            if scoring is not None:
                evaluated = finish(cfg, scoring, store.folder / cfg.evaluation.name)
                logger.measures(evaluated.means(run_name(store.folder)))
                logger.scores(evaluated.folder / "scores.csv", evaluated.figures)
        terminal.close(cfg.output_dir)
        if scoring is not None:
            print_scores(evaluated)
        # What a sweeper that searches (Optuna) gets to see.
        return summary["mean"].get(cfg.returns)


if __name__ == "__main__":
    prepare_command_line()
    main()
