"""PNG, JPEG and JPEG 2000 as sequences of segments: one walk each, and what cleans them."""
