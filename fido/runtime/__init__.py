"""Files, memory, noise: what every part of fido stands on."""
