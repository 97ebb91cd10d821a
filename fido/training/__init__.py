"""Training of the networks that ship: one module a network, and what they share."""
