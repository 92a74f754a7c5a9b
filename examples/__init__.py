"""Applications that use taskflow, small enough to be read and real enough to be believed."""
