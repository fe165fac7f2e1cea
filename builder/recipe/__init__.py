"""A recipe, which is a TOML file, becomes objects.

    schema    its sections and keys, with their defaults
    load      the file is read, and every mistake in it told at once
    template  a recipe to start from
    resolve   names become networks, managers and loaders
    data      what it says about data
    teacher   the network with its weights, trained where it has none
"""
