"""Pose estimation.

    networks   DeepPose and SimpleBaseline on ResNet-18
    poses      shirts under known transforms: keypoints
"""
