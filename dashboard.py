"""Save the W&B view that compares runs: `python dashboard.py entity=me project=fido`."""

from fido.app.command_line import script

if __name__ == "__main__":
    script("dashboard")
