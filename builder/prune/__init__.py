"""Structured pruning: a block without some of its inner channels.

    importance  scores by which channels are ranked
    derive      a descendant: the block, built smaller
    stored      descendants in files
    groups      which channels of one layer are coupled with which of others
"""
