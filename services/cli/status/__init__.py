"""Shows the whole deployment on one screen: `trelay status`."""
