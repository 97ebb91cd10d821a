"""Configurations composed as the commands compose them."""

from hydra import compose, initialize_config_dir

from fido.app.folders import conf_folder, use_groups_of

CONF = conf_folder()


def command_config(command, *overrides, **options):
    """The configuration of a command, with its own groups (`experiment`, `preset`, `model`)."""
    use_groups_of(command)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, list(overrides), **options)


def explain_config(*overrides):
    return command_config("explain", "output_dir=out", *overrides)


def leaves(*groups):
    """(group, option) for all options of the groups, `explain/preset` for those of one command."""
    paths = [path for group in groups for path in sorted((CONF / group).glob("[!_]*.yaml"))]
    return [(path.parent.name, path.stem) for path in paths]
