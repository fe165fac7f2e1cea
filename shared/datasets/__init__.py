"""Data sets in the formats of the field, as the networks and meters of the applications take them.

    opening         open_dataset: the right reader for an application and a path; labels_in: the names in the data
    dataset         Dataset: examples that are loaded when they are needed; Classes: from names to numbers
    paths           files in folders, and names in annotations that must not lead out of them

    folders         image classification, anomaly detection: a sub-folder for each class or kind
    videos          action recognition: folders of frames, video files
    masks           semantic segmentation: a mask for each image
    boxes           object detection
    keypoints       pose estimation
    coco, voc       what is written in COCO's JSON and VOC's XML
    lists           VOC's lists: parts of a data set, each named by its list's path
    regions         polygons and run lengths as masks

An example that is broken raises `InputError` when it is loaded, and is left out; `DataError` says that the whole data
set cannot be used, since anything measured on it would be wrong.
"""
