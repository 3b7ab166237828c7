"""What an image says of itself, judged before a decoder sees it; and the decoders."""
