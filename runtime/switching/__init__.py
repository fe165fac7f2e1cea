"""Changing what runs while it runs.

    switcher    Switcher: holds the composition that runs, puts others in its place, keeps some for the way back
    background  Background: jobs in a thread of their own that stands back behind inferences
"""
