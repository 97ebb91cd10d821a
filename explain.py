"""Explain photos: `python explain.py infiller=blur data=folder data.path=photo.jpg`."""

from fido.app.command_line import script

if __name__ == "__main__":
    script("explain")
