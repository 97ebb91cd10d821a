"""The interfaces of other packages, for any explainer of this one; import what you use."""
