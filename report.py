"""Make pictures and tables again from stores: `python report.py store=outputs/sweeps/NAME`."""

from fido.app.command_line import script

if __name__ == "__main__":
    script("report")
