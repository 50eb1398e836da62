"""The image engine: format, chunk store, capture, restore, verify, collect. No network, no database."""
