"""Widgets of the console: everything is drawn line by line from pieces of text with a role."""
