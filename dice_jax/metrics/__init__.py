"""The metrics of the paper (sec. 4.1) and a few more, each computed per sample."""
