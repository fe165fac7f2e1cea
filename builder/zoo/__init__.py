"""The built-in applications: of each its networks, untrained, its data, made of Fashion-MNIST, and its recipes
(*.toml), which `legodnn-build` takes by name.

    classification/, segmentation/, detection/, pose/, action/, anomaly/   one for each application
    common/   what they share
    write     the built-in data as files, in the formats of the field

Nothing outside imports from here: recipes name what they need.
"""
