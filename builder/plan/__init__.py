"""What a build is going to do; reads what was found, decides nothing.

    plan    blocks, their layers, what they can lose, and the reasons, as numbers
    shares  what could go of every layer of a block
"""
