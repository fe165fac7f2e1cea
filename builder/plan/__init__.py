"""The plan of a build, read from the cut network; nothing is chosen here.

    plan    blocks, their layers, what is prunable in them and why the rest is not, as numbers
    shares  how many parameters of every layer are prunable
"""
