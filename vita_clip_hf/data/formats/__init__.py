"""Annotation formats, a module each: the files that a data set's authors publish, to videos and labels."""
