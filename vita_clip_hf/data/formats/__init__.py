"""Annotation formats, a module each: what a data set's authors publish, read to videos and labels."""
