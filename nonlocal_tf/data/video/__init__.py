"""Video files to clips: decoding, frame indices, sizes, crops, views."""
