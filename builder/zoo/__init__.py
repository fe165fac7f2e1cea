"""Small networks and built-in recipes.

    resnet_cifar    ResNet-18 for small images
    train_fashion   trains it on Fashion-MNIST, for the demo
    *.toml          recipes `legodnn-build` knows by name
"""
