"""Guided jobs: screens that ask one question a page and then show what comes of it."""
