"""Networks, untrained, and built-in recipes.

    resnet_cifar          ResNet-18 for small images
    vgg_cifar             VGG-11, 13, 16 and 19 for small images
    mobilenet_v2_cifar    MobileNetV2 for small images
    resnext_cifar         ResNeXt-29 for small images
    wide_resnet           wide residual networks for small images
    senet_cifar           SE-ResNet-18 for small images
    cbam                  CBAM-ResNet-18 for small images
    residual_attention    Attention-56 for small images
    inception_v3          Inception v3 for small images, or for its own size
    yolov3                YOLOv3 on DarkNet-53
    faster_rcnn           Faster R-CNN on ResNet-18 and ResNet-50 with a feature pyramid, for small images
    ssdlite               SSDlite on MobileNetV3, for small images
    segmentation          FCN and DeepLabv3 on ResNet-18
    anomaly               GANomaly, and ordinal regression
    pose                  DeepPose and SimpleBaseline on ResNet-18
    video                 TSN and TRN on ResNet-18
    r3d                   R3D-18
    resnet                ResNet-18's stages and trunk, for the others
    layers                smaller pieces they share
    *.toml                recipes `legodnn-build` knows by name
"""
