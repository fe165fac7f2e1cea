"""Semantic segmentation.

    networks   FCN and DeepLabv3 on ResNet-18
"""
