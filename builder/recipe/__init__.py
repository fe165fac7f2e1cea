"""A recipe, a TOML file, becomes objects.

    schema    its sections and keys, with their defaults
    load      reads the file and reports every mistake in it
    template  a recipe to start from
    resolve   names become networks, managers and loaders
    data      its data sets
    inputs    what determines the results of its stages
    teacher   the teacher stage: the network with its weights, trained where it has none
"""
