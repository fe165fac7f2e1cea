"""Data sets in common formats, as inputs of networks and truths of meters.

    opening         open_dataset: the reader for an application and a path; labels_in: the names in the data
    dataset         Dataset: examples, loaded lazily; Classes: names -> numbers
    paths           files in folders; names in annotations, kept inside them

    folders         image classification, anomaly detection: a sub-folder for each class or kind
    videos          action recognition: folders of frames, video files
    masks           semantic segmentation: a mask for each image
    boxes           object detection
    keypoints       pose estimation
    coco, voc       COCO's JSON and VOC's XML
    lists           VOC's lists: subsets of a data set, named by the list's path
    regions         polygons and run lengths as masks

A broken example raises `InputError` when it is loaded, and is skipped; `DataError` means that the whole data set cannot
be used, since metrics on it would be wrong.
"""
