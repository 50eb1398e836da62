"""The operator's console: a Textual application that shows the store and writes orders into it."""
