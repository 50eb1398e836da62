"""Codecs: bytes to frozen dataclasses and back. No sockets, no clock, no log."""
