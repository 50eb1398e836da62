"""Diecast: a PXE imaging appliance."""

__version__ = "0.1.0"
