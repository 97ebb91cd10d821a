"""Train a network: `python train.py model=ca`, or with data=folder data.path=FOLDER."""

from fido.app.command_line import script

if __name__ == "__main__":
    script("train")
