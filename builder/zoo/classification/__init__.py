"""Image classification.

    resnet_cifar          ResNet-18 for small images
    vgg_cifar             VGG-11, 13, 16 and 19 for small images
    mobilenet_v2_cifar    MobileNetV2 for small images
    resnext_cifar         ResNeXt-29 for small images
    wide_resnet           wide residual networks for small images
    senet_cifar           SE-ResNet-18 for small images
    cbam                  CBAM-ResNet-18 for small images
    residual_attention    Attention-56 for small images
    inception_v3          Inception v3 for small images, or for its own size
"""
