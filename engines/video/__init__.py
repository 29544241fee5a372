"""Films, frame by frame or planned: key frames first, then all the gaps between them."""
