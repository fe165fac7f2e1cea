"""Object detection.

    faster_rcnn    Faster R-CNN on ResNet-18 and ResNet-50 with a feature pyramid, for small images
    ssdlite        SSDlite on MobileNetV3, for small images
    yolov3         YOLOv3 on DarkNet-53; yolov3_boxes: from its maps to detections; yolov3_loss: its loss
"""
