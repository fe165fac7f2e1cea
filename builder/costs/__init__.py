"""What a build takes, before it is begun: passes over the data, seconds, memory, space on the disk.

    estimate  Costs: all of it, for a recipe
    network   a network's work, by segment and variant, and how fast this machine does it
    loaders   how much data there is, and how fast it is read
    disk      space on the disk, and the refusal where there is not enough
"""
