"""Action recognition.

    networks   TSN and TRN on ResNet-18
    r3d        R3D-18
    motions    clips of garments in motion
"""
