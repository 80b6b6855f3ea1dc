//! Bytes without meaning: the file-system trait, the frame every record stands in, memory maps.
