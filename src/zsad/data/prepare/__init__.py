"""From a download, or a folder of images, to the index of a dataset."""
