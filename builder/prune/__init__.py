"""Structured pruning: a block without some of its inner channels.

    importance  what makes a channel worth keeping
    derive      a descendant: the block, built smaller
    groups      which channels of one layer go together with which of others
"""
