"""What goes over the wire: cursors, WebSocket frames, and records encoded into them."""
