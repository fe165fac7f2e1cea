"""Switching between selections while inferences run.

    switcher    Switcher: the current composition, switches, and the cache of earlier compositions
    background  Background: jobs in a thread of their own, at a low priority
"""
