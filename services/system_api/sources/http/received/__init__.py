"""What a sender or a stream sends becomes events: the settings that pick them, and how they are picked."""
