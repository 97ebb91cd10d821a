"""Score saved explanations: `python evaluate.py store=outputs/2026-01-01/12-00-00`."""

from fido.app.command_line import script

if __name__ == "__main__":
    script("evaluate")
